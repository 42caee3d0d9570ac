//! A session writes only where it was told to, and ONNX Runtime reports to nobody.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, path::Path, process::Command};

use corticast_tests::{Process, Site, binary, not_run};

/// Runs a command in a new home folder, and checks that it left the folder empty.
fn leaves_home_empty(site: &Site, mut command: Command) {
    let home = site.path("home");
    fs::create_dir(&home).unwrap();
    command.env("HOME", &home).env_remove("XDG_CACHE_HOME").env_remove("ORT_DISABLE_TELEMETRY");
    drop(Process::start(site, command).finish().expect(0, &[]));
    let left: Vec<_> = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    fs::remove_dir(home).unwrap();
}

#[test]
fn a_model_that_was_opened_leaves_no_trace_in_the_home_folder() {
    let site = Site::new(20);
    let mut check = Command::new(binary("corticast"));
    check.arg("check").arg("--config").arg(site.config());
    leaves_home_empty(&site, check);

    let Some(python) = std::env::var_os("CORTICAST_PYTHON") else {
        not_run("the training tool's ONNX Runtime", "CORTICAST_PYTHON is not set");
        return;
    };
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/models/noop-64x64x32/decoder.onnx");
    let mut train = Command::new(python);
    train.arg("-c").arg(
        "import sys, corticast_training.export.linear, onnxruntime\n\
         onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])",
    );
    train.arg(model);
    leaves_home_empty(&site, train);
}
