//! Nothing that an adapter sends identifies the participant: names of files and folders, UIDs,
//! times of day. Everything is captured at the socket.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use corticast_tests::{
    Daemon, PlayedDaemon, Process, Site, adapter, fixture, published, text_of, wait_for,
};
use corticast_wire::message::FromAdapter;

/// Parts of the names of the files and folders. `19000101` is the date of birth in the fixture.
const IDENTITIES: [&str; 8] =
    ["smith", "Smith", "john", "1960", "PLANTED", "Planted", "19000101", "MacDuff"];

/// Acknowledges all runs until the adapter ends. Returns the series and names of the runs.
fn receive_all(daemon: &mut PlayedDaemon, mut sending: Process) -> Vec<(String, String)> {
    let mut runs = Vec::new();
    let mut run = String::new();
    while !sending.has_ended() {
        let Some(message) = daemon.next_within(std::time::Duration::from_millis(50)) else {
            continue;
        };
        match message {
            FromAdapter::Run { header, .. } => {
                run = header.run_id();
                daemon.accept(&run, 0);
                runs.push((header.series_id, run.clone()));
            }
            FromAdapter::Volume(volume) => daemon.ack(&run, Some(volume.header.index.0)),
            FromAdapter::End(_) => daemon.ack(&run, None),
            FromAdapter::Mark(_) => {}
            FromAdapter::Ping => daemon.ping(),
        }
    }
    drop(sending.finish().expect(0, &["done"]));
    runs
}

fn assert_absent(heard: &[impl AsRef<[u8]>], words: &[&str]) {
    assert!(!heard.is_empty());
    for word in words {
        let contains = |bytes: &[u8]| bytes.windows(word.len()).any(|at| at == word.as_bytes());
        assert!(!heard.iter().any(|frame| contains(frame.as_ref())), "{word} was sent");
    }
}

fn start(site: &Site, daemon: &PlayedDaemon, flags: &[&str]) -> Process {
    let flags = [flags, &["--speed", "0"]].concat();
    adapter(site, &daemon.endpoint(), &flags)
}

#[test]
fn names_of_images_and_their_folders_are_not_sent() {
    let site = Site::new(6);
    let visit = site.path("Smith_John_1960");
    fs::create_dir_all(visit.join("run-smith")).unwrap();
    let named = ["smith_john_1960.nii.gz", "run-smith/a.nii.gz", "sub-01_john_bold.nii.gz"];
    for name in named {
        fs::copy(site.bold(), visit.join(name)).unwrap();
    }
    let files = named.map(|name| visit.join(name).to_str().unwrap().to_owned());
    let mut daemon = PlayedDaemon::listen();
    let flags = ["nifti", &files[0], &files[1], &files[2], "--sub", "01"];
    let nifti = start(&site, &daemon, &flags);
    let runs = receive_all(&mut daemon, nifti);
    let names: Vec<_> = runs.iter().map(|(_, name)| name.as_str()).collect();
    let expected = [1, 2, 3].map(|number| format!("sub-01_task-unknown_run-{number}"));
    assert_eq!(names, expected);
    let bids = start(&site, &daemon, &["bids", &files[0]]);
    assert_eq!(receive_all(&mut daemon, bids)[0].1, "sub-x_task-unknown_run-1");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(daemon.heard.iter().any(|frame| text(frame).contains("nifti")));
    assert_absent(&daemon.heard, &IDENTITIES);
    // The id without a salt: the hash of the header, the size and the first volume.
    let unsalted = site_series(&files[0]);
    assert_absent(&daemon.heard, &[&unsalted]);
}

/// The id of the series in a file before it is hashed with a salt.
fn site_series(file: &str) -> String {
    use corticast_images::{
        nifti::{NiftiAdapter, NiftiOptions},
        source::ScannerAdapter as _,
    };
    let options = NiftiOptions { files: vec![file.into()], ..NiftiOptions::default() };
    NiftiAdapter::open(options).unwrap().start_run().unwrap().unwrap().series_id
}

fn export(folder: &Path) -> Vec<u8> {
    let file = fixture("skyra");
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("smith_john_1960.dcm"), &file).unwrap();
    file
}

#[test]
fn uids_their_plain_hashes_and_times_of_day_are_not_sent() {
    let site = Site::new(1);
    let folder = site.path("Smith_John_1960");
    let file = export(&folder);
    let mut daemon = PlayedDaemon::listen();
    let flags = ["dicom", folder.to_str().unwrap(), "--once"];
    let sending = start(&site, &daemon, &flags);
    let runs = receive_all(&mut daemon, sending);
    assert_eq!(runs.len(), 1);
    let series = text_of(&file, [0x20, 0, 0x0e, 0]);
    let instance = text_of(&file, [0x08, 0, 0x18, 0]);
    let hashes =
        [&series, &instance].map(|uid| blake3::hash(uid.as_bytes()).to_hex()[..16].to_owned());
    assert_absent(&daemon.heard, &IDENTITIES);
    assert_absent(&daemon.heard, &[&series, &instance, &hashes[0], &hashes[1]]);
    // AcquisitionTime is 124750.327500.
    assert_absent(&daemon.heard, &["12:47:50", "124750", "scanner_wall_time"]);

    let asked = [&flags[..], &["--send-wall-time"]].concat();
    let sending = start(&site, &daemon, &asked);
    drop(receive_all(&mut daemon, sending));
    assert!(daemon.heard.iter().any(|frame| frame.windows(8).any(|at| at == b"12:47:50")));
}

#[test]
fn a_session_keeps_its_salt_over_a_kill_and_shares_it_with_no_other() {
    let site = Site::new(1);
    let folder = site.path("export");
    drop(export(&folder));
    let state = site.path("kept");
    let mut daemon = PlayedDaemon::listen();
    let flags = |session| {
        [
            "dicom",
            folder.to_str().unwrap(),
            "--once",
            "--session",
            session,
            "--state",
            state.to_str().unwrap(),
        ]
    };
    // Killed in the middle of its run.
    let killed = start(&site, &daemon, &flags("a"));
    let FromAdapter::Run { header, .. } = daemon.next_message() else { panic!("expected a run") };
    killed.kill();
    let sending = start(&site, &daemon, &flags("a"));
    let again = receive_all(&mut daemon, sending);
    assert_eq!(again.last().unwrap().0, header.series_id, "the same series");
    let sending = start(&site, &daemon, &flags("b"));
    let other = receive_all(&mut daemon, sending);
    assert_ne!(other.last().unwrap().0, header.series_id, "another session");
    let files: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!file.file_name().to_string_lossy().contains("export"));
    }
}

#[test]
fn a_killed_adapter_resumes_its_run_at_the_daemon() {
    let site = Site::new(40);
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let bold = site.bold();
    let flags = ["nifti", bold.to_str().unwrap(), "--speed", "20"];
    let killed = adapter(&site, daemon.endpoint("adapter"), &flags);
    wait_for("some volumes", || {
        let volumes = daemon.metrics().count("corticast_volumes_received_total");
        (volumes > 5).then_some(())
    });
    killed.kill();
    let flags = ["nifti", bold.to_str().unwrap(), "--speed", "0"];
    let again = adapter(&site, daemon.endpoint("adapter"), &flags).finish();
    drop(again.expect(0, &["done"]));
    assert_eq!(daemon.stop().code, Some(0));
    let reports = published(&mcap, "run");
    let report = reports.last().unwrap();
    assert_eq!(
        (report["run"].as_str(), report["n_received"].as_u64()),
        (Some(site.run_name()), Some(40)),
        "{reports:?}"
    );
}
