//! The doctor on ports and folders: what it says is what was sent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use corticast_tests::{Process, Site, binary, mosaic, real_data, wait_for};
use rustix::process::Signal;
use serde_json::Value;

fn doctor(site: &Site, arguments: &[&str]) -> Process {
    let mut command = Command::new(binary("corticast-adapter"));
    command.arg("doctor").args(arguments);
    Process::start(site, command)
}

/// Checks the exit code and that the page has all of these words. Returns the page.
fn page(process: Process, code: i32, words: &[&str]) -> String {
    let ended = process.finish();
    assert_eq!(ended.code, Some(code), "{}\n{}", ended.output, ended.log);
    for word in words {
        assert!(ended.output.contains(word), "{word:?} is not on the page: {}", ended.output);
    }
    ended.output
}

#[allow(clippy::disallowed_methods, reason = "a scanner keeps its own time")]
fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

const COMMANDS: &[u8] = b"ACQUISITION_TYPE 3D+timing\nTR 0.2\nXYFOV 12 12 9\nXYMATRIX 4 4 3\n\
    XYZAXES R-L A-P I-S\nXYZFIRST 6R 6A 4I\nBYTEORDER LSB_FIRST\nTPATTERN alt+z\n\
    NOTE Planted^Name\n\0";

/// Sends volumes of AFNI's protocol, 0.2 s apart; before the last one a pause.
fn scan(address: &str, n: u8, pause_ms: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(COMMANDS).unwrap();
    for k in 0..n {
        pause(if k + 1 == n { pause_ms } else { 200 });
        stream.write_all(&[k, 0, k + 1, 0].repeat(24)).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).ok();
}

#[test]
fn a_port_is_listened_to_as_its_adapter_does_until_a_signal() {
    let site = Site::new(1);
    let doctor = doctor(&site, &["0", "--adapter", "afni", "--watch-s", "600"]);
    scan(&doctor.listens("afni"), 12, 1500);
    wait_for("the end of the run", || doctor.log().contains("run ended").then_some(()));
    doctor.signal(Signal::TERM);
    let words = [
        "This sender works, but",
        "1 run, 12 volumes",
        "Run 1: afni: real-time, volume by volume",
        "12 volumes of 4 x 4 x 3 voxels of 3.00 x 3.00 x 3.00 mm, int16",
        "repetition time: 0.2 s by the header",
        "slice times: 3 slices in 3 excitations",
        "0.9 TR",
        "late: half at most",
        "becomes a run: corticast-adapter afni --data-port 0 --control-port 0",
        "of more than 2 TR",
    ];
    let page = page(doctor, 0, &words);
    assert!(!page.contains("Planted"), "{page}");
}

#[test]
fn what_is_refused_is_on_the_page_with_its_reason() {
    let site = Site::new(1);
    let doctor = doctor(&site, &["0", "--adapter", "afni", "--watch-s", "600", "--json"]);
    let address = doctor.listens("afni");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"XYMATRIX 99999 4 3\n\0").unwrap();
    stream.read_to_end(&mut Vec::new()).ok();
    wait_for("the refusal", || doctor.log().contains("connection ended").then_some(()));
    doctor.signal(Signal::INT);
    let page: Value = serde_json::from_str(&page(doctor, 1, &[])).unwrap();
    assert_eq!((page["works"].as_bool(), page["refused"].as_u64()), (Some(false), Some(1)));
    let advice = page["advice"].to_string();
    assert!(advice.contains("expected XYMATRIX nx ny [nz]"), "{advice}");
}

#[test]
fn a_sender_is_told_by_its_first_bytes() {
    let site = Site::new(1);
    let guessing = doctor(&site, &["0", "--watch-s", "600"]);
    let mut first = TcpStream::connect(guessing.listens("any sender")).unwrap();
    first.write_all(COMMANDS).unwrap();
    scan(&guessing.listens("afni"), 3, 200);
    wait_for("the end of the run", || guessing.log().contains("run ended").then_some(()));
    guessing.signal(Signal::TERM);
    page(guessing, 0, &["3 volumes of 4 x 4 x 3", "the sender speaks afni", "connect again"]);

    let browsed = doctor(&site, &["0", "--watch-s", "600"]);
    let mut browser = TcpStream::connect(browsed.listens("any sender")).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    page(browsed, 1, &["This sender gives no run", "a web browser"]);

    let alone = doctor(&site, &["0", "--adapter", "mrd", "--watch-s", "1"]);
    page(alone, 1, &["Nobody connected", "nobody connected to 127.0.0.1:0 within", "--listen"]);
}

#[test]
fn a_watched_folder_says_how_late_its_volumes_are_and_where_it_stalled() {
    let site = Site::new(1);
    let folder = site.path("export");
    fs::create_dir(&folder).unwrap();
    let doctor = doctor(&site, &[folder.to_str().unwrap(), "--watch-s", "12"]);
    pause(500);
    for number in 1..=5 {
        // A mosaic of this scan takes 1.5 s.
        pause(if number == 5 { 4000 } else { 1000 });
        fs::write(folder.join(format!("{number}.dcm")), mosaic(number)).unwrap();
    }
    let words = [
        "5 files in the folder, after 12 s, 5 of them images, 1 series",
        "arrival: every 1.",
        "late: half at most",
        "delay: ",
        "1 pause of more than 2 TR between volumes, up to 4.",
    ];
    page(doctor, 0, &words);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn pairs_are_named_and_folders_below_are_looked_into() {
    let Some(data) = real_data("pairs_are_named_and_folders_below_are_looked_into") else { return };
    let site = Site::new(1);
    let pairs = doctor(&site, &[data.join("philips_parrec").to_str().unwrap()]);
    let words = [
        "This export works",
        "8 of PAR/REC pairs",
        "4 volumes of 80 x 80 x 15 voxels",
        "becomes a run: corticast-adapter parrec FOLDER",
    ];
    let found = page(pairs, 0, &words);
    assert!(!found.contains("no DICOM file"), "{found}");

    let folder = site.path("export");
    copy(&data.join("siemens_prisma_mosaic"), &folder.join("20260101.Planted^Name/007"));
    let below = doctor(&site, &[folder.to_str().unwrap()]);
    let words = ["This export works", "3 volumes of 64 x 64 x 18"];
    let found = page(below, 0, &words);
    assert!(!found.contains("Planted"), "{found}");
}
