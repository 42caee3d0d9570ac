//! Who may know whom (ARCHITECTURE.md): an arrow that nobody decided on fails here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeMap, process::Command};

use corticast_tests::repository;
use serde_json::Value;

/// Direct dependencies of each crate of the workspace, those of its tests apart.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(repository(""))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            let of_crate = all.filter(|dependency| dependency["kind"] != "dev");
            (text(&package["name"]), of_crate.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

fn who_depends_on(name: &str) -> Vec<String> {
    let crates = dependencies().into_iter();
    crates.filter(|(_, on)| on.iter().any(|d| d == name)).map(|(name, _)| name).collect()
}

#[test]
fn only_the_models_know_the_inference_engine() {
    assert_eq!(who_depends_on("ort"), ["corticast-models"]);
}

#[test]
fn only_the_wire_knows_the_zeromq_crate() {
    assert_eq!(who_depends_on("omq-tokio"), ["corticast-wire"]);
}

#[test]
fn arrows_between_crates_are_those_that_were_decided_on() {
    let siblings = |name: &str| -> Vec<String> {
        let all = dependencies().remove(name).unwrap();
        let mut siblings: Vec<_> = all.into_iter().filter(|d| d.starts_with("corticast")).collect();
        siblings.sort();
        siblings
    };
    assert_eq!(siblings("corticast-bold"), Vec::<String>::new());
    assert_eq!(siblings("corticast-wire"), ["corticast-bold"]);
    assert_eq!(siblings("corticast-models"), ["corticast-bold"]);
    assert_eq!(siblings("corticast-images"), ["corticast-bold", "corticast-wire"]);
    let adapter = ["corticast-bold", "corticast-images", "corticast-wire"];
    assert_eq!(siblings("corticast-adapter"), adapter);
    let daemon = ["corticast-bold", "corticast-images", "corticast-models", "corticast-wire"];
    assert_eq!(siblings("corticast"), daemon);
    // Nothing but tests may know everything.
    assert_eq!(who_depends_on("corticast"), ["corticast-tests"]);
}

/// The signal path is pure: no sockets, no files, no clock, no log.
#[test]
fn the_signal_path_depends_on_mathematics_only() {
    let pure = ["ndarray", "serde", "thiserror", "blake3"];
    let bold = dependencies().remove("corticast-bold").unwrap();
    let more: Vec<_> = bold.iter().filter(|name| !pure.contains(&name.as_str())).collect();
    assert!(more.is_empty(), "{more:?}");
}
