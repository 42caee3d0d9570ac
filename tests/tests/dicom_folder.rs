//! A scanner's export folder becomes results through the adapter, without identifying data.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, path::Path};

use corticast_bold::space::VoxelSpace;
use corticast_images::nifti::reader::NiftiReader;
use corticast_tests::{
    Daemon, PATIENCE, Process, Site, adapter, concepts, counts, entries, http_get, in_shell,
    mosaic, published, real_data, recorded_volumes, repository, results, text_of,
};
use serde_json::Value;

const SERIES_UID: [u8; 4] = [0x20, 0, 0x0e, 0];

/// Matrix and affine of a scan according to nibabel.
fn space_of(name: &str) -> VoxelSpace {
    let text = fs::read(repository("tests/data/dicom/nibabel.json")).unwrap();
    let facts: Value = serde_json::from_slice(&text).unwrap();
    let matrix = serde_json::from_value(facts[name]["matrix"].clone()).unwrap();
    let affine = serde_json::from_value(facts[name]["affine"].clone()).unwrap();
    VoxelSpace::new(matrix, affine).unwrap()
}

/// An export of nine volumes whose file names contain an identity.
fn export(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for number in 1..10 {
        fs::write(folder.join(format!("PLANTED-NAME_{number:06}.dcm")), mosaic(number)).unwrap();
    }
}

fn site() -> Site {
    Site::for_space(
        &space_of("skyra"),
        [[30, 30, 12], [32, 28, 13], [34, 30, 14], [28, 33, 15]],
        1.5,
    )
}

#[test]
fn a_folder_of_mosaics_becomes_results() {
    let site = site();
    let folder = site.path("export");
    export(&folder);
    // A truncated file is skipped.
    fs::write(folder.join("cut.dcm"), &mosaic(9)[..100_000]).unwrap();
    let (mcap, jsonl) = (site.path("session.mcap"), site.path("results.jsonl"));
    let arguments = ["--record", mcap.to_str().unwrap(), "--results", jsonl.to_str().unwrap()];
    let daemon = Daemon::start(&site, &arguments);
    let flags = ["dicom", folder.to_str().unwrap(), "--once", "--sub", "01", "--speed", "0"];
    let scan = adapter(&site, daemon.endpoint("adapter"), &flags).finish();
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..9).collect());
    let results = results(&jsonl);
    assert_eq!(results.last().unwrap()["index"], 8);
    for result in &results {
        let sum: f64 = concepts(result).iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{result}");
    }
}

#[test]
fn no_output_identifies_the_participant() {
    let site = site();
    let folder = site.path("PLANTED-FOLDER");
    export(&folder);
    let (mcap, jsonl) = (site.path("session.mcap"), site.path("results.jsonl"));
    let arguments = ["--record", mcap.to_str().unwrap(), "--results", jsonl.to_str().unwrap()];
    let chatty = "RUST_LOG=debug exec \"$0\" \"$@\"";
    let daemon = Daemon::started(&site, chatty, &arguments);
    let watch = daemon.watch();
    let flags = ["dicom", folder.to_str().unwrap(), "--once", "--sub", "01", "--speed", "0"];
    let flags = flags.into_iter().chain(["--connect", daemon.endpoint("adapter")]);
    let flags: Vec<String> = flags.map(str::to_owned).collect();
    let scan = Process::start(&site, in_shell(chatty, "corticast-adapter", &flags)).finish();
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    let mut seen = Vec::new();
    loop {
        let (topic, header) = watch.next(PATIENCE).unwrap();
        let is_end = topic == "run" && header["state"] == "ended";
        seen.push(header.to_string());
        if is_end {
            break;
        }
    }
    let mut places = vec![
        ("published", seen.concat().into_bytes()),
        ("metrics", http_get(daemon.endpoint("http"), "/metrics").1.into_bytes()),
        ("query", daemon.query("last").to_string().into_bytes()),
        ("log of the adapter", scan.log.into_bytes()),
        ("output of the adapter", scan.output.into_bytes()),
        ("log of the daemon", daemon.stop().log.into_bytes()),
        ("results", fs::read(&jsonl).unwrap()),
    ];
    let recorded = entries(&mcap).0;
    places.push(("recording", recorded.iter().flat_map(|e| e.data.to_vec()).collect()));

    let file = mosaic(1);
    assert!(file.windows(7).any(|bytes| bytes == b"PLANTED"), "the fixture contains an identity");
    let uid = text_of(&file, SERIES_UID);
    assert!(uid.len() > 4, "{uid}");
    for (place, bytes) in places {
        assert!(!bytes.is_empty() || place.starts_with("output"), "{place} is empty");
        for identity in ["PLANTED", "Planted", "19000101", &uid] {
            let found = bytes.windows(identity.len()).position(|b| b == identity.as_bytes());
            let around = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..at]));
            assert!(found.is_none(), "{identity} is in the {place}, after {around:?}");
        }
    }
}

/// Eleven real files; one is a copy of another under a wrong name.
#[test]
fn a_real_export_with_a_file_that_lies_gives_ten_volumes() {
    let Some(data) = real_data("a_real_export_with_a_file_that_lies_gives_ten_volumes") else {
        return;
    };
    let site = site();
    let (mcap, folder) = (site.path("session.mcap"), data.join("siemens_skyra_mosaic"));
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["dicom", folder.to_str().unwrap(), "--once", "--sub", "01", "--speed", "0"];
    let scan = adapter(&site, daemon.endpoint("adapter"), &flags).finish();
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(recorded_volumes(&mcap), (0..10).collect());
    let report = published(&mcap, "run").pop().unwrap();
    assert_eq!(counts(&report)[..4], [10, 0, 0, 0]);

    // Dumped to one file and reoriented to RAS+, the export also gives ten volumes.
    let dump = site.path("dump.nii.gz");
    let flags = ["dicom", folder.to_str().unwrap(), "--once", "--dump", dump.to_str().unwrap()];
    let flags: Vec<String> = flags.map(str::to_owned).to_vec();
    let command = in_shell("exec \"$0\" \"$@\"", "corticast-adapter", &flags);
    assert_eq!(Process::start(&site, command).finish().code, Some(0));
    assert_eq!(NiftiReader::open(&dump).unwrap().header().n_volumes, 10);
}
