//! Tests with real-world folders: renames, partial files, duplicates, other series.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser;
use corticast_images::acquired::AcquiredVolume;

mod runs;

use super::*;
use crate::{
    adapter::{ScannerAdapter, contract, real_data},
    session_state::{SessionKey, SessionState},
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: DicomOptions,
}

pub(super) fn options(folder: &Path, flags: &[&str]) -> DicomOptions {
    let folder = folder.to_str().unwrap();
    Command::try_parse_from(["dicom", folder].iter().chain(flags)).unwrap().options
}

fn watching(folder: &Path, flags: &[&str]) -> DicomAdapter {
    DicomAdapter::open(options(folder, flags)).unwrap()
}

fn once(folder: &Path, flags: &[&str]) -> DicomAdapter {
    DicomAdapter::open(DicomOptions { once: true, ..options(folder, flags) }).unwrap()
}

fn indices(volumes: &[AcquiredVolume]) -> Vec<u32> {
    volumes.iter().map(|volume| volume.index.0).collect()
}

fn rename_in(folder: &Path, name: &str, bytes: &[u8]) {
    let outside = tempfile::NamedTempFile::new_in(folder.parent().unwrap()).unwrap();
    fs::write(outside.path(), bytes).unwrap();
    outside.persist(folder.join(name)).unwrap();
}

/// A folder inside a temporary folder; tests rename files from the outer into the inner one.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("export");
    fs::create_dir(&inner).unwrap();
    (outer, inner)
}

#[test]
fn what_is_there_comes_in_order_of_acquisition_and_without_duplicates() {
    let (_outer, folder) = folder();
    for (name, number) in [("c", 1), ("a", 3), ("b", 2), ("0_copy", 3)] {
        fs::write(folder.join(name), fixture::volume("skyra", number, &[])).unwrap();
    }
    fs::write(folder.join("prisma"), fixture::volume("prisma", 1, &[])).unwrap();
    fs::write(folder.join("notes.txt"), [b'x'; 500]).unwrap();
    fs::write(folder.join("cut"), &fixture::volume("skyra", 4, &[])[..5000]).unwrap();
    let mut adapter = once(&folder, &["--task", "rest", "--run", "07"]);
    let runs = contract::holds(&mut adapter);
    let names: Vec<_> = runs.iter().map(|(header, _)| header.run_id()).collect();
    assert_eq!(names, ["sub-x_task-rest_run-07", "sub-x_task-rest_run-08"]);
    let by_series: HashMap<_, _> =
        runs.iter().map(|(header, v)| (header.space.matrix(), indices(v))).collect();
    assert_eq!(by_series[&[64, 64, 27]], [0, 1, 2]);
    assert_eq!(by_series[&[64, 64, 18]], [0]);
    let counts =
        Counts { handed_on: 4, duplicates: 1, given_up: 1, other_files: 1, ..Counts::default() };
    assert_eq!(adapter.counts(), counts);
}

#[test]
fn a_folder_is_watched_through_renames_pieces_duplicates_and_lies() {
    let (_outer, folder) = folder();
    let flags = ["--volumes", "4", "--deadline-s", "30", "--end-after-s", "60"];
    let mut adapter = watching(&folder, &flags);
    let volume = |number| fixture::volume("skyra", number, &[]);

    rename_in(&folder, "001_000013_000001.dcm", &volume(1));
    let header = adapter.start_run().unwrap().unwrap();
    assert_eq!((header.run_id().as_str(), header.n_volumes), ("sub-x_run-1", Some(4)));
    let mut next = || adapter.next_volume().unwrap().map(|volume| volume.index.0);
    assert_eq!(next(), Some(0));

    // The same image under another name, then an image whose name has the wrong number.
    rename_in(&folder, "001_000013_000000.dcm", &volume(1));
    rename_in(&folder, "001_000013_000099.dcm", &volume(2));
    assert_eq!(next(), Some(1));

    // Closed half written, and finished later by a separate writer.
    let whole = volume(3);
    let path = folder.join("001_000013_000003.dcm");
    let writer = std::thread::spawn(move || {
        for piece in whole.chunks(whole.len() / 3 + 1) {
            let mut file = fs::File::options().append(true).create(true).open(&path).unwrap();
            file.write_all(piece).unwrap();
            drop(file);
            dawdle(20);
        }
    });
    assert_eq!(next(), Some(2));
    writer.join().unwrap();

    fs::write(folder.join("001_000013_000004.dcm"), volume(4)).unwrap();
    assert_eq!(next(), Some(3));
    assert_eq!(next(), None, "all four volumes arrived");
    let counts = adapter.counts();
    assert_eq!((counts.handed_on, counts.refused, counts.given_up), (4, 0, 0));
    assert!(counts.duplicates >= 1);
}

#[test]
fn files_that_raise_no_event_are_found_by_looking() {
    let (outer, folder) = folder();
    let mut adapter = watching(&folder, &["--poll-ms", "20"]);
    // A hard link causes only a creation event.
    let outside = outer.path().join("outside");
    fs::write(&outside, fixture::volume("skyra", 1, &[])).unwrap();
    fs::hard_link(&outside, folder.join("001_000013_000001.dcm")).unwrap();
    assert!(adapter.start_run().unwrap().is_some());
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
}

#[test]
fn a_restarted_adapter_gives_the_last_series_its_name_again_and_sends_no_other() {
    let (outer, folder) = folder();
    let key = SessionKey { kind: "dicom", place: &folder, labels: [""; 6] };
    let open = || {
        let state = SessionState::of_session(&outer.path().join("state"), key).unwrap();
        let flags = ["--end-after-s", "0.1", "--volumes", "1"];
        DicomAdapter::open(DicomOptions { state: Some(state), ..options(&folder, &flags) }).unwrap()
    };
    let mut adapter = open();
    for (name, fixture) in [("a", "prisma"), ("b", "skyra")] {
        rename_in(&folder, name, &fixture::volume(fixture, 1, &[]));
        dawdle(20);
        assert!(adapter.start_run().unwrap().is_some());
        assert!(adapter.next_volume().unwrap().is_some());
        assert!(adapter.next_volume().unwrap().is_none());
    }
    let header = open().start_run().unwrap().unwrap();
    assert_eq!((header.run_id().as_str(), header.space.matrix()), ("sub-x_run-2", [64, 64, 27]));
}

/// The pause of a slow writer between two parts of a file.
#[allow(clippy::disallowed_methods, reason = "simulates a slow writer")]
fn dawdle(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn a_truncated_file_costs_its_volume_only_and_a_new_series_is_a_new_run() {
    let (_outer, folder) = folder();
    let mut adapter = watching(&folder, &["--deadline-s", "0.05", "--end-after-s", "60"]);
    rename_in(&folder, "1", &fixture::volume("skyra", 1, &[]));
    rename_in(&folder, "2", &fixture::volume("skyra", 2, &[])[..100_000]);
    rename_in(&folder, "3", &fixture::volume("skyra", 3, &[]));
    let first = adapter.start_run().unwrap().unwrap();
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 2);
    let writer = std::thread::spawn({
        let folder = folder.clone();
        move || {
            dawdle(150);
            rename_in(&folder, "4", &fixture::volume("prisma", 1, &[]));
        }
    });
    assert_eq!(adapter.next_volume().unwrap(), None);
    writer.join().unwrap();
    let second = adapter.start_run().unwrap().unwrap();
    assert_eq!((first.run_id().as_str(), second.run_id().as_str()), ("sub-x_run-1", "sub-x_run-2"));
    assert_ne!(first.series_id, second.series_id);
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
    assert_eq!(adapter.counts().given_up, 1);
}

#[test]
fn a_pause_longer_than_the_time_for_the_end_does_not_end_the_run() {
    let (_outer, folder) = folder();
    let mut adapter = watching(&folder, &["--end-after-s", "0.1", "--volumes", "2"]);
    rename_in(&folder, "1", &fixture::volume("skyra", 1, &[]));
    assert!(adapter.start_run().unwrap().is_some());
    assert!(adapter.next_volume().unwrap().is_some());
    let writer = std::thread::spawn({
        let folder = folder.clone();
        move || {
            dawdle(300);
            rename_in(&folder, "2", &other_voxels(fixture::volume("skyra", 2, &[])));
        }
    });
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 1);
    writer.join().unwrap();
    assert_eq!(adapter.next_volume().unwrap(), None, "both volumes came");
}

/// The file with another last voxel of its first tile.
fn other_voxels(mut bytes: Vec<u8>) -> Vec<u8> {
    let n = bytes.len();
    bytes[n - 384 * 384 * 2] ^= 1;
    bytes
}

/// A volume of series `series`, with more texts replaced and voxels of its own.
fn of_series(series: &str, number: u32, edits: &[(u32, &str)]) -> Vec<u8> {
    let uid = format!("{}.{series}", fixture::text_of("skyra", fixture::SERIES_INSTANCE_UID));
    let instance = format!("{uid}.{number}");
    let usual = [
        (fixture::SERIES_INSTANCE_UID, uid.as_str()),
        (fixture::SOP_INSTANCE_UID, instance.as_str()),
    ];
    let edits: Vec<_> = usual.into_iter().chain(edits.iter().copied()).collect();
    let mut bytes = fixture::volume("skyra", number, &edits);
    let n = bytes.len();
    bytes[n - 384 * 384 * 2] ^= number as u8;
    bytes
}

/// A time of day, `number` volumes of `tr_s` after ten.
fn time(number: u32, tr_s: f64) -> String {
    format!("1000{:09.6}", f64::from(number - 1) * tr_s)
}

#[test]
fn phase_motion_corrected_and_filtered_copies_that_come_in_turns_are_left_out() {
    for kind in [r"ORIGINAL\PRIMARY\P\ND\MOSAIC", r"ORIGINAL\PRIMARY\M\MOCO\MOSAIC", ""] {
        let (_outer, folder) = folder();
        let mut adapter = watching(&folder, &["--volumes", "3"]);
        let (mut run, mut indices) = (None, Vec::new());
        for number in 1..=3 {
            let time = time(number, 1.5);
            let edits = [(fixture::ACQUISITION_TIME, time.as_str())];
            rename_in(&folder, &format!("a{number}"), &of_series("1", number, &edits));
            run = run.or_else(|| adapter.start_run().unwrap());
            indices.push(adapter.next_volume().unwrap().unwrap().index.0);
            let mut edits = edits.to_vec();
            if !kind.is_empty() {
                edits.push((tags::IMAGE_TYPE, kind));
            }
            rename_in(&folder, &format!("b{number}"), &of_series("2", number, &edits));
        }
        assert_eq!((indices, adapter.next_volume().unwrap()), (vec![0, 1, 2], None), "{kind}");
        assert_eq!(adapter.counts().refused, 0, "{kind}");
    }
}

#[test]
fn numbers_that_are_all_one_and_a_shots_repetition_time_give_way() {
    let (_outer, folder) = folder();
    for number in 1..=4 {
        let time = time(number, 2.08);
        let edits = [
            (fixture::ACQUISITION_TIME, time.as_str()),
            (fixture::ACQUISITION_NUMBER, "1"),
            (fixture::REPETITION_TIME, "65"),
        ];
        fs::write(folder.join(number.to_string()), of_series("1", number, &edits)).unwrap();
    }
    let mut adapter = once(&folder, &[]);
    let runs = contract::holds(&mut adapter);
    assert_eq!(indices(&runs[0].1), [0, 1, 2, 3]);
    assert!((runs[0].0.repetition_time.as_secs() - 2.08).abs() < 1e-9);
    assert_eq!((adapter.counts().duplicates, adapter.counts().refused), (0, 0));
}

#[test]
fn a_series_whose_repetition_time_nobody_knows_is_refused_and_not_lost_in_silence() {
    let (_outer, folder) = folder();
    for number in 1..=3 {
        let edits = [
            (fixture::ACQUISITION_TIME, ""),
            (tags::CONTENT_TIME, ""),
            (fixture::REPETITION_TIME, ""),
        ];
        fs::write(folder.join(number.to_string()), of_series("1", number, &edits)).unwrap();
    }
    let mut adapter = once(&folder, &[]);
    assert!(contract::holds(&mut adapter).is_empty());
    assert_eq!(adapter.counts().refused, 3);
    assert_eq!(adapter.losses().load(std::sync::atomic::Ordering::Relaxed), 3);
    let runs = contract::holds(&mut once(&folder, &["--tr", "2"]));
    assert_eq!(indices(&runs[0].1), [0, 1, 2]);
}

#[test]
fn a_series_with_too_few_volumes_is_no_run() {
    let (_outer, folder) = folder();
    fs::write(folder.join("a"), fixture::volume("prisma", 1, &[])).unwrap();
    for number in 1..=2 {
        fs::write(folder.join(number.to_string()), of_series("1", number, &[])).unwrap();
    }
    let mut adapter = once(&folder, &["--min-volumes", "2"]);
    let runs = contract::holds(&mut adapter);
    assert_eq!((runs.len(), indices(&runs[0].1)), (1, vec![0, 1]));
    assert_eq!((adapter.counts().left_out, adapter.counts().refused), (1, 0));
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for() {
    let (outer, _) = folder();
    let folder = outer.path().join("later");
    let mut adapter = watching(&folder, &["--poll-ms", "20"]);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("1"), fixture::volume("skyra", 1, &[])).unwrap();
    assert!(adapter.start_run().unwrap().is_some());
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
}

#[test]
fn a_folder_without_files_tells_what_lies_below() {
    let (_outer, folder) = folder();
    let refused = |flags: &[&str]| {
        let none = DicomAdapter::open(DicomOptions { once: true, ..options(&folder, flags) });
        none.err().unwrap().to_string()
    };
    assert!(refused(&[]).contains("the folder is empty"), "{}", refused(&[]));
    fs::create_dir_all(folder.join("patient/visit/series")).unwrap();
    for number in 1..=4 {
        fs::write(folder.join(format!("patient/visit/series/{number}")), b"x").unwrap();
    }
    let deep = "no file here or in the folders up to 2 levels below, 4 files further down";
    assert!(refused(&[]).contains(deep), "{}", refused(&[]));
    fs::write(folder.join("patient/notes.txt"), b"x").unwrap();
    let other = "no file here matches --pattern *.dcm: 1 file of other names";
    assert!(refused(&["--pattern", "*.dcm"]).contains(other));
}

#[test]
fn the_doctor_tells_what_is_there_and_names_nobody() {
    let (_outer, folder) = folder();
    for number in 1..=3 {
        let time = time(number, 1.0);
        let edits = [(fixture::ACQUISITION_TIME, time.as_str())];
        fs::write(folder.join(number.to_string()), of_series("1", number, &edits)).unwrap();
    }
    fs::write(folder.join("Doe.txt"), [b'x'; 500]).unwrap();
    fs::write(folder.join("cut"), &fixture::volume("skyra", 4, &[])[..9000]).unwrap();
    let crate::doctor::Examined { is_usable, text: page, json } =
        crate::doctor::folder::examine(&folder, 0, &crate::doctor::Heard::default()).unwrap();
    assert!(is_usable);
    for words in [
        "3 volumes of 64 x 64 x 27 voxels",
        "1.5 s by the header, 1.0000 s by the scanner's clock",
        "1 file is cut off",
        "1 file is not DICOM",
        "give --tr 1.0000",
    ] {
        assert!(page.contains(words), "{words} is not in:\n{page}");
    }
    assert_eq!((&json["series"][0]["volumes"], &json["works"]), (&3.into(), &true.into()));
    for identity in ["PLANTED", "Planted", "Doe", "19000101"] {
        assert!(!page.contains(identity) && !json.to_string().contains(identity), "{page}");
    }
}

#[test]
fn another_matrix_mid_run_costs_that_file() {
    let (_outer, folder) = folder();
    for number in [1, 3] {
        let bytes = fixture::volume("skyra", number, &[]);
        fs::write(folder.join(number.to_string()), bytes).unwrap();
    }
    // The prisma's picture as one of the skyra's series.
    let [uid, study] = [fixture::SERIES_INSTANCE_UID, tags::STUDY_INSTANCE_UID]
        .map(|tag| fixture::text_of("skyra", tag));
    let edits = [
        (fixture::SERIES_INSTANCE_UID, uid.as_str()),
        (tags::STUDY_INSTANCE_UID, &study),
        (fixture::REPETITION_TIME, "1500"),
    ];
    fs::write(folder.join("2"), fixture::volume("prisma", 2, &edits)).unwrap();
    let mut adapter = once(&folder, &[]);
    let runs = contract::holds(&mut adapter);
    assert_eq!(runs.len(), 1);
    assert_eq!(indices(&runs[0].1), [0, 2]);
    assert_eq!(adapter.counts().refused, 1);
}

/// Collects the log output.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn neither_what_is_handed_on_nor_what_is_logged_names_the_patient() {
    let (_outer, folder) = folder();
    let folder = folder.join("Doe^Jane");
    fs::create_dir(&folder).unwrap();
    let whole = fixture::volume("skyra", 1, &[]);
    let bad = fixture::volume("skyra", 2, &[(fixture::REPETITION_TIME, "Doe^Jane")]);
    let late = fixture::volume("skyra", 3, &[(fixture::ACQUISITION_TIME, "030000")]);
    let cut = whole[..9000].to_vec();
    let files = [("1.dcm", &whole), ("copy", &whole), ("2", &bad), ("3", &late), ("cut", &cut)];
    for (name, bytes) in files {
        fs::write(folder.join(format!("Doe^Jane_{name}")), bytes).unwrap();
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let mut printed = tracing::subscriber::with_default(subscriber, || {
        let mut adapter = once(&folder, &[]);
        let runs = contract::holds(&mut adapter);
        assert_eq!(indices(&runs[0].1), [0, 1, 2]);
        let none = DicomOptions { once: true, ..options(&folder.join("none"), &[]) };
        let missing = DicomAdapter::open(none).err().unwrap();
        format!("{:?} {missing} {missing:?}", runs.iter().map(|(run, _)| run).collect::<Vec<_>>())
    });
    printed += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(printed.contains("file skipped"), "{printed}");
    let uid = fixture::text_of("skyra", fixture::SERIES_INSTANCE_UID);
    for identity in ["PLANTED", "Planted", "19000101", "Doe", uid.as_str()] {
        assert!(!printed.contains(identity), "{identity} in {printed}");
    }
}

#[test]
fn the_real_series_come_in_order_although_a_name_lies() {
    let Some(data) = real_data() else { return };
    let mut adapter = once(&data.join("siemens_skyra_mosaic"), &[]);
    let runs = contract::holds(&mut adapter);
    assert_eq!(indices(&runs[0].1), (0..10).collect::<Vec<_>>());
    let times: Vec<_> = runs[0].1.iter().map(|v| v.acquisition_time_s.unwrap()).collect();
    for (index, time) in times.iter().enumerate() {
        assert!((time - 1.5 * index as f64).abs() < 1e-9, "{index}: {time} s");
    }
    let counts = Counts { handed_on: 10, duplicates: 1, ..Counts::default() };
    assert_eq!((runs.len(), adapter.counts()), (1, counts));

    let mut adapter = once(&data.join("siemens_prisma_mosaic"), &[]);
    let runs = contract::holds(&mut adapter);
    assert_eq!((runs.len(), indices(&runs[0].1)), (1, vec![0, 1, 2]));

    let mut adapter = once(&data.join("damaged"), &[]);
    assert!(contract::holds(&mut adapter).is_empty());
    assert_eq!(adapter.counts(), Counts { given_up: 1, ..Counts::default() });

    let mut adapter = once(&data.join("ge_slices"), &[]);
    let runs = contract::holds(&mut adapter);
    assert_eq!((runs.len(), indices(&runs[0].1)), (1, vec![0, 1, 2]));
    assert_eq!(runs[0].0.space.matrix(), [64, 64, 18]);
}
