//! A study with sham feedback: a yoked session shows exactly what another participant saw, nothing
//! that is published tells the arm, and what does not fit is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;

use corticast_tests::{
    Finished, Kept, PATIENCE, Site, corticast, published, scan_for_feedback, score_of,
    with_feedback, without_ns,
};
use serde_json::Value;

const SOURCE: &str = r#"{ kind = "roi_difference", plus = "face", minus = "house" }"#;
const VOLUMES: u32 = 120;

fn sham(site: &Site, words: &[&str]) -> Finished {
    corticast(site, [&["sham"], words].concat())
}

/// A site whose scan has this seed, so that its participant has scores of their own.
fn site(seed: u64) -> Site {
    let mut scan = scan_for_feedback(VOLUMES);
    scan.noise_percent = 1.0 + 0.1 * seed as f32;
    let site = Site::with_scan(scan, "nearest");
    with_feedback(&site, SOURCE, "", "");
    site
}

/// Configures the feedback of a participant with a sealed assignment.
fn sealed(site: &Site, session: &str, assignment: &str, scores: &str) {
    let section = format!(
        "[feedback.sham]\nassignment = \"{assignment}\"\nkey = \"study.key\"\nscores = \
         \"{scores}\"\n[session]\nname = \"{session}\"\n"
    );
    with_feedback(site, SOURCE, "", &section);
}

/// Runs the scan. Returns what subscribers got and what was recorded.
fn run(site: &Site, kept: &Kept<'_>) -> (Vec<Value>, Vec<Value>) {
    let daemon = kept.start(&[""; 0]);
    let watch = daemon.watch();
    assert_eq!(daemon.scan(site, &[]).code, Some(0));
    let mut heard = Vec::new();
    while heard.len() < VOLUMES as usize {
        let (topic, header) = watch.next(PATIENCE).unwrap();
        if topic == "feedback" {
            heard.push(without_ns(header));
        }
    }
    assert_eq!(daemon.stop().code, Some(0));
    (heard, published(&kept.recording(), "feedback"))
}

#[test]
fn a_check_finds_scores_that_do_not_fit() {
    let (site, _) = with_scores();
    let words = ["seal", "demo", "--draw", "real,yoked", "--key", "study.key", "--out", "sealed"];
    drop(sham(&site, &words).expect(0, &[]));
    let good: Value =
        serde_json::from_slice(&std::fs::read(site.path("other.json")).unwrap()).unwrap();
    let check = |scores: &Value, expected: &[&str]| {
        std::fs::write(site.path("odd.json"), scores.to_string()).unwrap();
        sealed(&site, "visit-1", "sealed/sub-demo.sealed.json", "odd.json");
        let checked = corticast(&site, ["check", "--config", site.config().to_str().unwrap()]);
        drop(checked.expect(if expected.is_empty() { 0 } else { 78 }, expected));
    };
    check(&good, &[]);
    check(&serde_json::json!({}), &["no recorded run, expected at least one"]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut scores = good.clone();
        change(&mut scores["task-shapes_run-1"]);
        scores
    };
    let nothing = changed(&|run| {
        let scores = run["scores"].as_array_mut().unwrap();
        scores.iter_mut().for_each(|score| score["shown"] = Value::Null);
    });
    check(&nothing, &["nothing was shown at any of the 120 volumes of `task-shapes_run-1`"]);
    let none = changed(&|run| run["scores"].as_array_mut().unwrap().clear());
    check(&none, &["nothing was shown at any of the 0 volumes"]);
    let later = changed(&|run| run["blocks"][1]["onset_s"] = (1e3).into());
    check(&later, &["are of another schedule: block 2"]);
    let slower = changed(&|run| run["repetition_time_s"] = (2.0).into());
    check(&slower, &["have a TR of 2", "the model was trained with"]);
    let mut odd = good.clone();
    odd["sub-07"] = odd["task-shapes_run-1"].clone();
    check(&odd, &["no run is named `sub-07`, expected a name as task-nf_run-1"]);
}

/// A site with a recorded session of another participant, and its scores in `other.json`.
fn with_scores() -> (Site, Vec<Value>) {
    let site = site(1);
    let other = Kept::new(&site, "other");
    let (shown, _) = run(&site, &other);
    drop(sham(&site, &["key", "study.key"]).expect(0, &[]));
    let recording = other.recording();
    let made = sham(&site, &["scores", recording.to_str().unwrap(), "--out", "other.json"]);
    let made = made.expect(0, &[]);
    assert!(made.output.starts_with("task-shapes_run-1: 120 volumes, something was"), "{made:?}");
    (site, shown)
}

#[test]
fn a_yoked_session_shows_what_another_participant_saw_and_nothing_tells_the_arm() {
    let (other, shown) = with_scores();
    let files =
        ["study.key", "other.json"].map(|name| (name, std::fs::read(other.path(name)).unwrap()));
    // Another participant's brain gives other scores.
    let site = site(4);
    for (name, bytes) in files {
        std::fs::write(site.path(name), bytes).unwrap();
    }
    let key = ["--key", "study.key", "--out"];
    drop(
        sham(&site, &[&["seal", "demo", "--arm", "yoked"], &key[..], &["yoked"]].concat())
            .expect(0, &[]),
    );
    drop(
        sham(&site, &[&["seal", "demo", "--arm", "real"], &key[..], &["real"]].concat())
            .expect(0, &[]),
    );

    sealed(&site, "visit-1", "yoked/sub-demo.sealed.json", "other.json");
    let (yoked, recorded) = run(&site, &Kept::new(&site, "yoked"));
    sealed(&site, "visit-2", "real/sub-demo.sealed.json", "other.json");
    let (real, recorded_real) = run(&site, &Kept::new(&site, "real"));

    let values = |reports: &[Value]| reports.iter().map(score_of).collect::<Vec<_>>();
    assert_eq!(values(&yoked), values(&shown), "exactly the recorded scores");
    assert_ne!(values(&real), values(&shown));
    assert!(values(&real).iter().any(|(_, score)| score.is_some()));
    // The recording holds the own scores, of both arms.
    let own =
        |reports: &[Value]| reports.iter().map(|r| r["own"]["raw"].clone()).collect::<Vec<_>>();
    assert_eq!(own(&recorded), own(&recorded_real));
    assert!(recorded.iter().any(|report| report["own"]["score"].is_number()));
    // What is published has the same keys in both arms, and no word that tells them apart.
    let keys = |reports: &[Value]| -> BTreeSet<String> {
        reports.iter().flat_map(|r| r.as_object().unwrap().keys().cloned()).collect()
    };
    assert_eq!(keys(&yoked), keys(&real));
    assert!(!keys(&yoked).contains("own") && !keys(&yoked).contains("uncertainty"));
    for report in yoked.iter().chain(&real) {
        let state = report["state"].as_str().unwrap();
        assert!(report["is_blind"] == true && ["shown", "nothing"].contains(&state), "{report}");
        assert_eq!(state == "shown", report["score"].is_number(), "{report}");
    }
    let unblind = ["unblind", "yoked/sub-demo.sealed.json", "--key", "study.key"];
    let unblinded = sham(&site, &unblind).expect(0, &[]);
    assert!(unblinded.output.ends_with("demo\tyoked\tvisit-1\n"), "{unblinded:?}");
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let (site, _) = with_scores();
    for label in ["demo", "07"] {
        let words =
            ["seal", label, "--draw", "real,yoked", "--key", "study.key", "--out", "sealed"];
        drop(sham(&site, &words).expect(0, &[]));
    }
    let config = site.config();
    let start = || corticast(&site, ["run", "--config", config.to_str().unwrap()]);
    let file = "sealed/sub-demo.sealed.json";

    // A session without a name of its own.
    sealed(&site, "session", file, "other.json");
    drop(start().expect(78, &["a sealed assignment is for one session; name it"]));

    // Someone else's: the run is refused, because only its header names the participant.
    sealed(&site, "visit-1", "sealed/sub-07.sealed.json", "other.json");
    let daemon = Kept::new(&site, "seven").start(&[""; 0]);
    let talk = daemon.talk();
    let header = site.acquire().0;
    talk.say(&corticast_wire::message::FromAdapter::Run { header: header.clone(), resume: false });
    let reason = talk.refusal();
    assert!(
        reason.contains("the run is of participant demo, the sealed assignment of 07"),
        "{reason}"
    );
    drop(daemon);

    // Scores of another length, in both arms alike.
    let text = std::fs::read_to_string(site.path("other.json")).unwrap();
    let mut short: Value = serde_json::from_str(&text).unwrap();
    short["task-shapes_run-1"]["scores"].as_array_mut().unwrap().truncate(50);
    std::fs::write(site.path("short.json"), short.to_string()).unwrap();
    sealed(&site, "visit-2", file, "short.json");
    drop(start().expect(78, &["cover 50 volumes, the design needs", "`corticast sham scores`"]));
    assert!(!site.path(&format!("{file}.used")).exists(), "no session has used it");

    // A name that the run does not have is known only when it starts.
    std::fs::write(site.path("named.json"), text.replace("run-1", "run-7")).unwrap();
    sealed(&site, "visit-2", file, "named.json");
    let daemon = Kept::new(&site, "named").start(&[""; 0]);
    let talk = daemon.talk();
    talk.say(&corticast_wire::message::FromAdapter::Run { header, resume: false });
    let reason = talk.refusal();
    assert!(reason.contains("no recorded scores for `task-shapes_run-1`"), "{reason}");
    assert_eq!(daemon.stop().code, Some(0));

    // That session used the file: it may start again, and no other session may.
    assert_eq!(std::fs::read_to_string(site.path(&format!("{file}.used"))).unwrap(), "visit-2");
    let daemon = Kept::new(&site, "named").start(&[""; 0]);
    let twice = ["run", "--config", config.to_str().unwrap(), "--record", "twice.mcap"];
    let words = ["another daemon runs session `visit-2` with the sealed assignment"];
    drop(corticast(&site, twice).expect(78, &words));
    assert_eq!(daemon.stop().code, Some(0));
    sealed(&site, "visit-3", file, "other.json");
    let used = "was used by session `visit-2` and is for one session only; session `visit-3` needs";
    drop(start().expect(78, &[used]));

    // A check leaves no mark.
    let words = ["seal", "08", "--arm", "real", "--key", "study.key", "--out", "sealed"];
    drop(sham(&site, &words).expect(0, &[]));
    sealed(&site, "visit-4", "sealed/sub-08.sealed.json", "other.json");
    let checked = corticast(&site, ["check", "--config", config.to_str().unwrap()]);
    drop(checked.expect(
        0,
        &[
            "feedback: real or sham is sealed",
            "recorded scores of `task-shapes_run-1`: 120 volumes at a TR of 1 s",
            "known only when a run starts: whether it is of participant 08",
        ],
    ));
    assert!(!site.path("sealed/sub-08.sealed.json.used").exists());

    // A file that was changed, and another key.
    let sealed_file = site.path("sealed/sub-08.sealed.json");
    let text = std::fs::read_to_string(&sealed_file).unwrap();
    std::fs::write(&sealed_file, text.replace("\"08\"", "\"demo\"")).unwrap();
    drop(start().expect(78, &["does not open: it was changed, or sealed with another key"]));
    std::fs::write(&sealed_file, text).unwrap();
    std::fs::write(site.path("study.key"), "0".repeat(64)).unwrap();
    drop(start().expect(78, &["does not open: it was changed, or sealed with another key"]));
    // Scores that are none.
    std::fs::write(site.path("other.json"), "{\"task-shapes_run-1\": 3}").unwrap();
    drop(start().expect(78, &["[feedback]: "]));
}
