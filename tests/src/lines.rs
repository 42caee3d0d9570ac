//! Results and recordings in a form that tests can compare.

use std::{collections::BTreeSet, path::Path};

use corticast::recording::{format::Entry, reader::Recording};
use corticast_wire::message::FromAdapter;
use serde_json::Value;

/// A value without keys that end in `_ns`, at any depth: the part that a replay reproduces.
#[must_use]
pub fn without_ns(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, _)| !key.ends_with("_ns"))
            .map(|(key, value)| (key, without_ns(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_ns).collect(),
        other => other,
    }
}

/// The lines of a results file, without `*_ns`.
#[must_use]
pub fn results(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| without_ns(serde_json::from_str(line).expect("JSON"))).collect()
}

/// The probabilities of a result, in the model's order.
#[must_use]
pub fn concepts(result: &Value) -> [f64; 3] {
    crate::CLASSES.map(|class| result["concepts"][class].as_f64().expect("a probability"))
}

/// Everything in a recording, and whether it was cut or damaged.
#[must_use]
pub fn entries(path: &Path) -> (Vec<Entry>, bool) {
    let mut recording = Recording::open(path).expect("a recording");
    let entries: Vec<Entry> = recording.by_ref().collect();
    (entries, !recording.is_whole())
}

/// The recorded products of a topic, without `*_ns`.
#[must_use]
pub fn published(path: &Path, topic: &str) -> Vec<Value> {
    let of_topic = entries(path).0.into_iter().filter(|entry| entry.topic == topic);
    of_topic.map(|e| without_ns(serde_json::from_slice(&e.data).expect("JSON"))).collect()
}

/// The indices of the volumes in a recording.
#[must_use]
pub fn recorded_volumes(path: &Path) -> BTreeSet<u32> {
    let messages = entries(path).0.into_iter().filter_map(|entry| entry.frames());
    let parsed = messages.filter_map(|frames| FromAdapter::parse(&frames).ok());
    parsed
        .filter_map(|(message, _)| match message {
            FromAdapter::Volume(volume) => Some(volume.header.index.0),
            _ => None,
        })
        .collect()
}

/// Counts in the report of a run: received, missing, late, dropped, results.
#[must_use]
pub fn counts(report: &Value) -> [u64; 5] {
    ["n_received", "n_missing", "n_late", "n_dropped", "n_results"]
        .map(|key| report[key].as_u64().unwrap_or_else(|| panic!("`{key}` in {report}")))
}
