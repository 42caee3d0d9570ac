//! An export that stalls for longer than the end of a run takes goes on in the same run, while
//! phase images come in turns with it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, path::Path};

use corticast_bold::space::VoxelSpace;
use corticast_tests::{
    Daemon, Site, adapter, mosaic, published, recorded_volumes, repository, value_of, wait_for,
};
use rustix::process::Signal;
use serde_json::Value;

const N_VOLUME: u8 = 9;

fn space() -> VoxelSpace {
    let text = fs::read(repository("tests/data/dicom/nibabel.json")).unwrap();
    let facts: Value = serde_json::from_slice(&text).unwrap();
    let matrix = serde_json::from_value(facts["skyra"]["matrix"].clone()).unwrap();
    let affine = serde_json::from_value(facts["skyra"]["affine"].clone()).unwrap();
    VoxelSpace::new(matrix, affine).unwrap()
}

/// Renames a file into the folder, as an export does.
fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let part = folder.join(".part");
    fs::write(&part, bytes).unwrap();
    fs::rename(part, folder.join(name)).unwrap();
}

/// The volume's phase image, of another series.
fn phase(number: u8) -> Vec<u8> {
    let mut file = mosaic(number);
    for (tag, from, to) in [([0x20, 0, 0x0e, 0], None, b'7'), ([8, 0, 8, 0], Some(b"\\M\\"), b'P')]
    {
        let value = value_of(&file, tag);
        let at = match from {
            Some(from) => {
                let text = &file[value.clone()];
                value.start + 1 + text.windows(3).position(|bytes| bytes == from).unwrap()
            }
            None => value.rev().find(|&at| file[at].is_ascii_digit()).unwrap(),
        };
        file[at] = to;
    }
    file
}

#[test]
fn a_pause_is_no_end_and_phase_is_no_run() {
    let site =
        Site::for_space(&space(), [[30, 30, 12], [32, 28, 13], [34, 30, 14], [28, 33, 15]], 1.5);
    let folder = site.path("export");
    fs::create_dir(&folder).unwrap();
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["dicom", folder.to_str().unwrap(), "--sub", "01", "--end-after-s", "0.2"];
    let scan = adapter(&site, daemon.endpoint("adapter"), &flags);
    wait_for("the adapter watches", || scan.log().contains("folder listed").then_some(()));
    for number in 1..=N_VOLUME {
        put(&folder, &format!("001_000013_{number:06}.dcm"), &mosaic(number));
        put(&folder, &format!("001_000014_{number:06}.dcm"), &phase(number));
        if number == 4 {
            wait_for("the run is taken to be over", || {
                scan.log().contains("taken to be over").then_some(())
            });
        }
    }
    let n = u64::from(N_VOLUME);
    drop(daemon.metrics_when("all volumes", |metrics| {
        metrics.count("corticast_volumes_received_total") >= n
    }));
    scan.signal(Signal::INT);
    let scan = scan.finish();
    assert_eq!(scan.code, Some(0), "{}", scan.log);
    assert!(scan.log.contains("left out: phase images"), "{}", scan.log);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..u32::from(N_VOLUME)).collect());
    let runs: std::collections::BTreeSet<String> =
        published(&mcap, "run").iter().map(|report| report["run"].to_string()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
}
