//! Allowed dependencies between crates (ARCHITECTURE.md): any other dependency fails here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use corticast_tests::repository;
use serde_json::Value;

/// Direct dependencies of each crate of the workspace, without dev-dependencies.
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

/// The rest of the models crate uses networks through a trait, so that it can be tested without
/// the library.
#[test]
fn only_the_runtime_folder_of_the_models_names_the_inference_engine() {
    let src = repository("models/src");
    let mut folders = vec![src.clone()];
    let mut naming = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let mut words = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
            if words.any(|word| word == "ort") {
                naming.push(path.strip_prefix(&src).unwrap().to_path_buf());
            }
        }
    }
    let elsewhere: Vec<_> = naming.iter().filter(|path| !path.starts_with("runtime")).collect();
    assert!(elsewhere.is_empty() && !naming.is_empty(), "{naming:?}");
}

#[test]
fn only_the_wire_knows_the_zeromq_crate() {
    assert_eq!(who_depends_on("omq-tokio"), ["corticast-wire"]);
}

#[test]
fn crates_depend_only_on_the_crates_they_may_depend_on() {
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
    // Only the tests may depend on the daemon.
    assert_eq!(who_depends_on("corticast"), ["corticast-tests"]);
}

/// The signal path is pure: no sockets, no files, no clock, no log.
#[test]
fn the_signal_path_depends_on_mathematics_only() {
    let pure = ["ndarray", "serde", "thiserror", "blake3", "libm"];
    let bold = dependencies().remove("corticast-bold").unwrap();
    let more: Vec<_> = bold.iter().filter(|name| !pure.contains(&name.as_str())).collect();
    assert!(more.is_empty(), "{more:?}");
}

/// Every package with its features, as cargo builds it for this selection and these dependency
/// kinds.
fn packages_with_features(selection: &[&str], kinds: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p} {f}"])
        .args(["--edges", kinds])
        .args(selection)
        .current_dir(repository(""))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// A test dependency that enables a feature in a dependency of the programs makes cargo rebuild
/// that dependency and everything that depends on it.
#[test]
fn make_test_builds_no_dependency_of_make_demo_again() {
    let programs = ["-p", "corticast", "-p", "corticast-adapter"];
    let demo = packages_with_features(&programs, "normal,build");
    let test = packages_with_features(&["--workspace"], "normal,build,dev");
    let again: Vec<_> = demo.difference(&test).collect();
    assert!(again.is_empty(), "built with other features for the tests: {again:?}");
}
