//! Compares the session of a recording with the one that continues or replays it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The agreed settings that decide the results.
const DECISIVE: [&str; 4] = ["mask", "signal", "normalise", "decoder"];

/// The same, of parts that may be left out: a setting that only one of the two has differs.
const DECISIVE_IF_THERE: [&str; 3] = ["stages", "files", "feedback"];

/// What a setting may only change the last bits of.
const LOW_BITS: [(&str, &str); 4] = [
    ("/corticast", "version of Corticast"),
    ("/model/provider", "provider of the model"),
    ("/model/runtime", "version of ONNX Runtime"),
    ("/config/model/threads", "threads of the model"),
];

/// How the session of a recording differs from this one in something that decides the results.
/// `None` when they match. A setting that an older version did not record is not compared.
#[must_use]
pub fn difference(then: &Value, now: &Value) -> Option<String> {
    let networks = |session: &Value| session.pointer("/model/networks").cloned();
    if networks(then) != networks(now) {
        return Some("with another model".to_owned());
    }
    for section in DECISIVE {
        match (of(then, section), of(now, section)) {
            (Some(Value::Object(then)), Some(Value::Object(now))) => {
                if let Some(key) = keys(then, now).into_iter().find(|key| {
                    then.contains_key(*key) && now.contains_key(*key) && then[*key] != now[*key]
                }) {
                    return Some(another(section, key, then.get(key), now.get(key)));
                }
            }
            (then, now) if then != now => return Some(format!("with another [{section}]")),
            _ => {}
        }
    }
    let nothing = Value::Object(Map::new());
    for section in DECISIVE_IF_THERE {
        let of = |session| of(session, section).unwrap_or(&nothing).as_object();
        let (Some(then), Some(now)) = (of(then), of(now)) else { continue };
        let differs = |key: &&String| then.get(*key) != now.get(*key);
        if let Some(key) = keys(then, now).into_iter().find(differs) {
            return Some(another(section, key, then.get(key), now.get(key)));
        }
    }
    None
}

fn of<'a>(session: &'a Value, section: &str) -> Option<&'a Value> {
    session.get("effective")?.get(section)
}

fn keys<'a>(then: &'a Map<String, Value>, now: &'a Map<String, Value>) -> BTreeSet<&'a String> {
    then.keys().chain(now.keys()).collect()
}

fn another(section: &str, key: &str, then: Option<&Value>, now: Option<&Value>) -> String {
    let text = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
    format!("with another [{section}]: {key} = {}, now {}", text(then), text(now))
}

/// What differs that may change the last bits of results, as text for people. Empty when nothing
/// does.
#[must_use]
pub fn low_bits(then: &Value, now: &Value) -> Vec<String> {
    let differing = LOW_BITS.iter().filter_map(|(at, what)| {
        let (then, now) = (then.pointer(at)?, now.pointer(at)?);
        (then != now).then(|| format!("{what}: {then}, now {now}"))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session() -> Value {
        json!({
            "corticast": "0.1.0",
            "effective": {
                "mask": { "hash": "a" },
                "signal": { "resequence_volumes": 1, "content_duplicates": "drop" },
                "normalise": { "mode": "growing" },
            },
            "model": { "networks": ["1"], "provider": "cpu", "runtime": "1.22" },
        })
    }

    #[test]
    fn each_setting_that_decides_the_results_is_compared_by_name() {
        let now = session();
        assert_eq!(difference(&session(), &now), None);
        for (at, value) in [
            ("/effective/mask/hash", json!("b")),
            ("/effective/signal/resequence_volumes", json!(3)),
            ("/effective/signal/content_duplicates", json!("keep")),
            ("/effective/normalise/mode", json!("frozen")),
        ] {
            let mut then = session();
            *then.pointer_mut(at).unwrap() = value;
            let text = difference(&then, &now).unwrap();
            assert!(text.contains(at.rsplit('/').next().unwrap()), "{text}");
            assert_eq!(low_bits(&then, &now), [""; 0]);
        }
        let mut then = session();
        then["model"]["networks"] = json!(["2"]);
        assert_eq!(difference(&then, &now).unwrap(), "with another model");
        // An older version did not record this setting.
        let mut then = session();
        then["effective"]["signal"].as_object_mut().unwrap().remove("content_duplicates");
        assert_eq!(difference(&then, &now), None);
    }

    #[test]
    fn a_part_that_was_left_out_differs_from_one_that_is_there() {
        let mut now = session();
        now["effective"]["feedback"] = json!({ "scaling": "z", "quality": { "fd_mm": 0.5 } });
        let text = difference(&session(), &now).unwrap();
        assert_eq!(text, "with another [feedback]: quality = none, now {\"fd_mm\":0.5}");
        let mut then = now.clone();
        then["effective"]["feedback"]["scaling"] = json!("percentile");
        let text = difference(&then, &now).unwrap();
        assert_eq!(text, "with another [feedback]: scaling = \"percentile\", now \"z\"");
        then["effective"]["feedback"]["scaling"] = json!("z");
        assert_eq!(difference(&then, &now), None);
        then["effective"]["stages"] = json!({ "smooth": { "fwhm_mm": 6.0 } });
        let text = difference(&then, &now).unwrap();
        assert!(text.starts_with("with another [stages]: smooth"), "{text}");
    }

    #[test]
    fn versions_and_provider_may_change_the_last_bits() {
        let mut then = session();
        then["corticast"] = json!("0.0.9");
        then["model"]["provider"] = json!("cuda");
        then["model"]["runtime"] = json!("1.20");
        then["config"]["model"]["threads"] = json!(1);
        let mut now = session();
        now["config"]["model"]["threads"] = json!(2);
        assert_eq!(difference(&then, &now), None);
        assert_eq!(low_bits(&then, &now).len(), 4);
    }
}
