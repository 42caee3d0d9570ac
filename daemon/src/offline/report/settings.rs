//! The settings of a run, from the description of its session: thresholds, and the stages that
//! each volume passed.

use serde_json::{Map, Value, json};

/// One step of the processing, in the words of COBIDAS (Nichols et al. 2017, Nature Neuroscience
/// 20:299).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StageSettings {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) is_on: bool,
    pub(super) parameters: Value,
    pub(super) reference: Option<&'static str>,
}

/// A stage's name, where its parameters are (a section, or some keys of `signal`), its meaning,
/// and the reference of its method.
type Known = (&'static str, &'static [&'static str], &'static str, Option<&'static str>);

/// All stages, in the order of the signal path.
const STAGES: [Known; 9] = [
    ("slice_timing", &[], "slices interpolated to one time", None),
    ("realign", &[], "rigid-body motion correction to a reference volume", None),
    ("smooth", &[], "spatial smoothing with a Gaussian", None),
    ("spatial_mask", &["mask"], "the voxels that are used", None),
    ("denoise", &[], "drift and nuisance signals removed, from past volumes only", None),
    (
        "gap_fill",
        &["missing", "max_fill_volumes", "resequence_volumes", "discard_volumes"],
        "what replaces a missing volume",
        None,
    ),
    (
        "normalise",
        &["normalise"],
        "each voxel in s.d. from its mean",
        Some("Welford 1962, Technometrics 4:419"),
    ),
    (
        "hemodynamic_shift",
        &["hrf_delay_s", "shift", "window_volumes"],
        "volumes assigned to the stimulus that caused them",
        None,
    ),
    (
        "quality",
        &["quality_baseline_volumes"],
        "FD and DVARS of each volume",
        Some("Power et al. 2012, NeuroImage 59:2142"),
    ),
];

/// The settings of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings<'a>(pub(super) &'a Value);

impl<'a> Settings<'a> {
    /// The agreed settings.
    pub(super) fn effective(self) -> Option<&'a Map<String, Value>> {
        self.0.get("effective")?.as_object()
    }

    /// A section, or a stage that may be left out: as agreed, else as configured.
    pub(super) fn section(self, name: &str) -> Option<&'a Value> {
        let found = |root| self.0.get(root).and_then(|root: &Value| root.get(name));
        let stages = self.0.get("effective").and_then(|effective| effective.get("stages"));
        let stage = stages.and_then(|stages| stages.get(name));
        stage.or_else(|| found("effective")).or_else(|| found("config"))
    }

    /// A number above 0 in the section `quality` or `signal`.
    fn limit(self, key: &str) -> Option<f64> {
        let found =
            ["quality", "signal"].iter().find_map(|section| self.section(section)?.get(key));
        found?.as_f64().filter(|limit| *limit > 0.0)
    }

    /// FD above which a volume is a spike, in mm.
    pub(super) fn fd_threshold_mm(self) -> Option<f64> {
        self.limit("fd_mm")
    }

    /// DVARS above which a volume is a spike.
    pub(super) fn dvars_threshold(self) -> Option<f64> {
        self.limit("dvars")
    }

    /// Version of the daemon that recorded the session.
    pub(super) fn version(self) -> Option<&'a str> {
        self.0.get("corticast")?.as_str()
    }

    /// Whether a stage has a section of its own that does not switch it off.
    pub(super) fn is_on(self, stage: &str) -> bool {
        let Some(section) = self.section(stage) else { return false };
        let word = |key: &str| section.get(key).and_then(Value::as_str);
        let is_off = section.get("enabled") == Some(&Value::Bool(false))
            || section.as_object().is_none_or(Map::is_empty)
            || ["mode", "method", "reference"].iter().any(|key| word(key) == Some("off"));
        !is_off
    }

    /// Every stage with its parameters.
    pub(super) fn stages(self) -> Vec<StageSettings> {
        let stages = STAGES.iter().map(|&(name, keys, meaning, reference)| {
            let mut parameters = Map::new();
            if let Some(own) = self.section(name).and_then(Value::as_object) {
                parameters.extend(own.clone());
            }
            for &key in keys {
                match self.section(key) {
                    Some(Value::Object(section)) => parameters.extend(section.clone()),
                    _ => {
                        let value = self.section("signal").and_then(|signal| signal.get(key));
                        parameters.extend(value.map(|value| (key.to_owned(), value.clone())));
                    }
                }
            }
            let is_on = if keys.is_empty() { self.is_on(name) } else { !parameters.is_empty() };
            let parameters =
                if is_on { without_folders(Value::Object(parameters)) } else { json!({}) };
            StageSettings { name, meaning, is_on, parameters, reference }
        });
        stages.collect()
    }
}

/// Settings with the names of files alone: folders may name people.
pub(super) fn without_folders(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('/') => {
            Value::String(text.rsplit('/').next().unwrap_or_default().to_owned())
        }
        Value::Array(items) => items.into_iter().map(without_folders).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, without_folders(value))).collect()
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_come_in_the_order_of_the_signal_path() {
        let named = |name: &&str| crate::metrics::STAGES.contains(name);
        let told: Vec<&str> = STAGES.iter().map(|(name, ..)| *name).filter(named).collect();
        let done = crate::metrics::STAGES.into_iter().filter(|name| told.contains(name));
        assert_eq!(told, done.collect::<Vec<_>>());
        assert_eq!(told.len(), 8);
    }

    #[test]
    fn stages_get_their_keys_and_one_that_is_absent_is_off() {
        let session = json!({
            "corticast": "0.1.0",
            "effective": {
                "mask": {"hash": "sha256:ab", "n_voxel": 4},
                "signal": {"hrf_delay_s": 4.25, "missing": "restart"},
                "realign": {"reference": "first"},
            },
            "config": {
                "smooth": {"enabled": false, "fwhm_mm": 6.0},
                "quality": {"fd_mm": 0.5, "dvars": 0.0},
            },
        });
        let settings = Settings(&session);
        assert_eq!(settings.fd_threshold_mm(), Some(0.5));
        assert_eq!(settings.dvars_threshold(), None, "0 is no limit");
        let stages = settings.stages();
        let stage = |name| stages.iter().find(|stage| stage.name == name).unwrap();
        assert!(stage("realign").is_on && !stage("smooth").is_on && !stage("denoise").is_on);
        assert_eq!(stage("hemodynamic_shift").parameters, json!({"hrf_delay_s": 4.25}));
        assert_eq!(stage("spatial_mask").parameters["n_voxel"], 4);
        assert!(!stage("normalise").is_on);
        let paths = json!({"sham": "/home/jane/sham.toml", "n": [1, "a/b"]});
        assert_eq!(without_folders(paths), json!({"sham": "sham.toml", "n": [1, "b"]}));
        assert_eq!(Settings(&Value::Null).stages().iter().filter(|stage| stage.is_on).count(), 0);
    }
}
