//! Other people's programs as scanners: the `ismrmrd` package, pyzmq as pyneal uses it, pynetdicom
//! and dcmtk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use corticast_bold::space::VoxelSpace;
use corticast_tests::{
    Daemon, Finished, Process, Site, adapter, mosaic, not_run, recorded_volumes, repository,
};
use rustix::process::Signal;

/// The Python interpreter, if it has this module.
fn python(test: &str, module: &str) -> Option<PathBuf> {
    let python =
        std::env::var_os("CORTICAST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let mut command = Command::new(&python);
    command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return Some(python);
    }
    not_run(test, &format!("{} lacks {module}: training/requirements-dev.txt", python.display()));
    None
}

/// Runs one of the scripts beside this file against an adapter.
fn script(site: &Site, python: &PathBuf, name: &str, at: &str, more: &[&str]) -> Finished {
    let mut command = Command::new(python);
    let script = repository("tests/tests/python").canonicalize().unwrap().join(name);
    let (address, port) = at.trim_start_matches("tcp://").rsplit_once(':').unwrap();
    command.arg(script).args([address, port]).args(more);
    Process::start(site, command).finish()
}

/// The scan of the scripts: 4 x 3 x 2 voxels of 3 mm, x to the left, y to posterior.
fn site() -> Site {
    let affine = [[-3., 0., 0., 4.5], [0., -3., 0., 3.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    let space = VoxelSpace::new([4, 3, 2], affine).unwrap();
    Site::for_space(&space, [[0, 0, 0], [1, 1, 1], [2, 1, 1], [3, 2, 1]], 1.5)
}

#[test]
fn the_ismrmrd_package_sends_a_run_and_gets_its_images_and_close_back() {
    let test = "the_ismrmrd_package_sends_a_run_and_gets_its_images_and_close_back";
    let Some(python) = python(test, "ismrmrd") else { return };
    let site = site();
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["mrd", "--port", "0", "--runs", "1"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    let sent = script(&site, &python, "mrd_client.py", &adapter.listens("mrd"), &["5"]);
    assert_eq!(sent.output.trim(), "10 True", "{}", sent.log);
    drop(adapter.finish().expect(0, &["n_volumes=5"]));
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..5).collect());
}

#[test]
fn a_pyneal_sender_gets_an_answer_to_everything() {
    let test = "a_pyneal_sender_gets_an_answer_to_everything";
    let Some(python) = python(test, "zmq, numpy") else { return };
    let site = site();
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["pyneal", "--port", "0", "--volumes", "5"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    let sent = script(&site, &python, "pyneal_sender.py", &adapter.listens("pyneal"), &["5"]);
    let answers: Vec<&str> = sent.output.lines().collect();
    assert_eq!(answers.len(), 7, "{}", sent.log);
    assert_eq!(answers[0], "hello from pyneal_scanner");
    assert_eq!(answers[5], "received volIdx 4");
    assert!(answers[6].starts_with("refused"), "{}", answers[6]);
    let _metrics = daemon.metrics_when("the volumes arrived", |metrics| {
        metrics.count("corticast_volumes_received_total") == 5
    });
    adapter.signal(Signal::TERM);
    // The last message was refused.
    drop(adapter.finish().expect(3, &["n_volumes=5", "no JSON"]));
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..5).collect());
}

/// Matrix and affine of the skyra fixture according to nibabel.
fn skyra() -> VoxelSpace {
    let facts = fs::read(repository("tests/data/dicom/nibabel.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
    let affine = serde_json::from_value(facts["skyra"]["affine"].clone()).unwrap();
    VoxelSpace::new([64, 64, 27], affine).unwrap()
}

/// Four mosaics as files, and a folder for the adapter.
fn images(site: &Site) -> (Vec<String>, PathBuf) {
    let spool = site.path("spool");
    fs::create_dir(&spool).unwrap();
    let files = (1..5).map(|number| {
        let path = site.path(&format!("{number}.dcm"));
        fs::write(&path, mosaic(number)).unwrap();
        path.display().to_string()
    });
    (files.collect(), spool)
}

#[test]
fn pynetdicom_stores_a_run_and_only_an_allowed_title_may() {
    let test = "pynetdicom_stores_a_run_and_only_an_allowed_title_may";
    let Some(python) = python(test, "pynetdicom") else { return };
    let site =
        Site::for_space(&skyra(), [[30, 30, 12], [32, 28, 13], [34, 30, 14], [28, 33, 15]], 1.5);
    let (files, spool) = images(&site);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["store", spool.to_str().unwrap(), "--port", "0", "--from", "MRC1"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    let at = adapter.listens("store");
    for titles in [["STRANGER", "CORTICAST"], ["MRC1", "OTHER"]] {
        let refused = script(&site, &python, "store_scu.py", &at, &titles);
        assert_eq!(refused.output.trim(), "rejected", "{}", refused.log);
    }
    let more = [&["MRC1", "CORTICAST"], files.as_slice()].concat();
    let stored = script(&site, &python, "store_scu.py", &at, &more);
    assert_eq!(stored.output.lines().next(), Some("echo 0x0000"), "{}", stored.log);
    assert_eq!(stored.output.matches("store 0x0000").count(), 4, "{}", stored.output);
    let _metrics = daemon.metrics_when("the volumes arrived", |metrics| {
        metrics.count("corticast_volumes_received_total") == 4
    });
    adapter.signal(Signal::TERM);
    let ended = adapter.finish();
    assert!(!ended.log.contains("PLANTED"), "{}", ended.log);
    assert!(ended.log.contains("not among --from"), "{}", ended.log);
    drop(daemon.stop());
    assert_eq!(recorded_volumes(&mcap), (0..4).collect());
    assert_eq!(fs::read_dir(spool).unwrap().count(), 0, "no image is left behind");
}

#[test]
fn dcmtk_stores_a_run() {
    let test = "dcmtk_stores_a_run";
    if Command::new("storescu").arg("--version").stdout(Stdio::null()).status().is_err() {
        return not_run(test, "no storescu: `make deps` installs dcmtk");
    }
    let site =
        Site::for_space(&skyra(), [[30, 30, 12], [32, 28, 13], [34, 30, 14], [28, 33, 15]], 1.5);
    let (files, spool) = images(&site);
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["store", spool.to_str().unwrap(), "--port", "0", "--from", "STORESCU"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    let at = adapter.listens("store");
    let (address, port) = at.rsplit_once(':').unwrap();
    let mut command = Command::new("storescu");
    command.args(["-aec", "CORTICAST", address, port]).args(&files);
    drop(Process::start(&site, command).finish().expect(0, &[]));
    let _metrics = daemon.metrics_when("the volumes arrived", |metrics| {
        metrics.count("corticast_volumes_received_total") == 4
    });
    adapter.signal(Signal::TERM);
    drop(adapter.finish());
    drop(daemon.stop());
    assert_eq!(recorded_volumes(&mcap), (0..4).collect());
}
