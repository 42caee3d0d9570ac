//! A signal that ends a watching adapter finishes the dump of what was received, and leaves nothing
//! else behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, path::Path};

use corticast_images::nifti::reader::NiftiReader;
use corticast_tests::{Process, Site, in_shell, mosaic, wait_for};
use rustix::process::Signal;

fn adapter(site: &Site, flags: &[&str]) -> Process {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    Process::start(site, in_shell("exec \"$0\" \"$@\"", "corticast-adapter", &flags))
}

/// Names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Bytes of the largest file in a folder.
fn largest(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).max().unwrap_or(0)
}

#[test]
fn a_signal_finishes_the_dump_of_a_watched_folder() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let site = Site::new(1);
        let (folder, out) = (site.path("export"), site.path("out"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&out).unwrap();
        let dump = out.join("run.nii.gz");
        let flags = ["dicom", folder.to_str().unwrap(), "--dump", dump.to_str().unwrap()];
        let watching = adapter(&site, &flags);
        wait_for("the adapter watches", || watching.log().contains("folder listed").then_some(()));
        for number in 1..=3 {
            fs::write(folder.join(number.to_string()), mosaic(number)).unwrap();
        }
        // Three volumes of 64 x 64 x 27 voxels of 2 bytes are in the temporary file.
        wait_for("three volumes are received", || {
            (largest(&out) >= 3 * 64 * 64 * 27 * 2).then_some(())
        });
        watching.signal(signal);
        drop(watching.finish().expect(0, &["stopping", "run written", "done volumes=3"]));
        assert_eq!(NiftiReader::open(&dump).unwrap().header().n_volumes, 3);
        assert_eq!(names(&out), ["run.nii.gz"]);
    }
}

#[test]
fn a_first_volume_that_waits_for_the_second_is_in_the_dump() {
    let site = Site::new(1);
    let (folder, dump) = (site.path("export"), site.path("run.nii"));
    fs::create_dir(&folder).unwrap();
    let flags = ["dicom", folder.to_str().unwrap(), "--dump", dump.to_str().unwrap()];
    // It waits longer than this test takes to send the signal.
    let watching = adapter(&site, &[&flags[..], &["--tr", "3"]].concat());
    wait_for("the adapter watches", || watching.log().contains("folder listed").then_some(()));
    fs::write(folder.join("1"), mosaic(1)).unwrap();
    wait_for("the run starts", || watching.log().contains("run started").then_some(()));
    watching.signal(Signal::TERM);
    drop(watching.finish().expect(0, &["stopping", "run written", "done volumes=1"]));
    assert_eq!(NiftiReader::open(&dump).unwrap().header().n_volumes, 1);
}

#[test]
fn a_signal_removes_the_private_folder_of_the_dicom_network() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let site = Site::new(1);
        let spool = site.path("spool");
        fs::create_dir(&spool).unwrap();
        let dump = site.path("run.nii.gz");
        let flags = ["store", spool.to_str().unwrap(), "--port", "0", "--from", "MRC1", "--dump"];
        let listening = adapter(&site, &[&flags[..], &[dump.to_str().unwrap()]].concat());
        wait_for("the adapter listens", || {
            listening.log().contains("listening for store").then_some(())
        });
        assert_eq!(names(&spool).len(), 1);
        listening.signal(signal);
        drop(listening.finish().expect(1, &["stopping", "delivered no volume to write"]));
        assert!(names(&spool).is_empty(), "{:?}", names(&spool));
    }
}
