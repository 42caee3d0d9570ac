//! Tests of which images become which runs: numbers that say nothing, series that share what
//! identifies them, series acquired together, folders below the watched one.

use std::sync::atomic::Ordering;

use super::*;

/// The runs of a folder that is read once: series ids, and the indices of their volumes.
fn runs_of(folder: &Path, flags: &[&str]) -> Vec<Vec<u32>> {
    let mut adapter = once(folder, flags);
    let runs = contract::holds(&mut adapter);
    assert_eq!(adapter.losses().load(std::sync::atomic::Ordering::Relaxed), 0);
    runs.iter().map(|(_, volumes)| indices(volumes)).collect()
}

/// A volume of a series whose numbers are all 1; only its time tells it from others.
fn without_numbers(series: &str, number: u32) -> Vec<u8> {
    let time = time(number, 1.5);
    let edits = [
        (fixture::ACQUISITION_TIME, time.as_str()),
        (fixture::ACQUISITION_NUMBER, "1"),
        (fixture::INSTANCE_NUMBER, "1"),
    ];
    of_series(series, number, &edits)
}

#[test]
fn no_volume_is_lost_when_no_number_tells_and_the_second_file_comes_first() {
    let (_outer, folder) = folder();
    let mut adapter = watching(&folder, &["--volumes", "4"]);
    let writer = std::thread::spawn({
        let folder = folder.clone();
        move || {
            for number in [2, 1, 3, 4] {
                rename_in(&folder, &number.to_string(), &without_numbers("1", number));
                dawdle(150);
            }
        }
    });
    assert!(adapter.start_run().unwrap().is_some());
    let mut volumes = Vec::new();
    while let Some(volume) = adapter.next_volume().unwrap() {
        volumes.push((volume.index.0, volume.acquisition_time_s.unwrap()));
    }
    writer.join().unwrap();
    assert_eq!(volumes, [(1, 1.5), (0, 0.0), (2, 3.0), (3, 4.5)]);
    assert_eq!((adapter.counts().refused, adapter.counts().duplicates), (0, 0));
}

#[test]
fn numbers_in_steps_make_no_gaps_live_and_one_that_lacks_does() {
    let (_outer, folder) = folder();
    let mut adapter = watching(&folder, &["--volumes", "3"]);
    for number in [1, 2, 4] {
        let (time, ten) = (time(number, 1.5), (10 * number).to_string());
        let edits = [
            (fixture::ACQUISITION_TIME, time.as_str()),
            (fixture::ACQUISITION_NUMBER, ten.as_str()),
            (fixture::INSTANCE_NUMBER, ten.as_str()),
        ];
        rename_in(&folder, &number.to_string(), &of_series("1", number, &edits));
    }
    assert!(adapter.start_run().unwrap().is_some());
    let next = || adapter.next_volume().unwrap().map(|volume| volume.index.0);
    assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), [0, 1, 3]);
}

#[test]
fn a_single_volume_is_passed_on_after_a_while() {
    let (_outer, folder) = folder();
    let mut adapter = watching(&folder, &["--tr", "0.2"]);
    rename_in(&folder, "1", &without_numbers("1", 1));
    assert!(adapter.start_run().unwrap().is_some());
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
    // The next series shows that no second one comes.
    rename_in(&folder, "2", &fixture::volume("prisma", 1, &[]));
    assert_eq!(adapter.next_volume().unwrap(), None);
    assert!(adapter.start_run().unwrap().is_some());
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
}

#[test]
fn series_that_share_or_lack_identifiers_are_runs_of_their_own() {
    let uid = fixture::text_of("skyra", fixture::SERIES_INSTANCE_UID);
    for uid in [uid.as_str(), ""] {
        let (_outer, folder) = folder();
        for (series, hour) in [("3", "09"), ("4", "10")] {
            for number in 1..=3 {
                let time = format!("{hour}{}", &time(number, 1.5)[2..]);
                let edits = [
                    (fixture::ACQUISITION_TIME, time.as_str()),
                    (fixture::SERIES_INSTANCE_UID, uid),
                    (fixture::SOP_INSTANCE_UID, uid),
                    (tags::SERIES_NUMBER, series),
                ];
                let path = folder.join(format!("{series}_{number}"));
                fs::write(&path, of_series("1", number, &edits)).unwrap();
                // A copy of each.
                fs::copy(&path, folder.join(format!("{series}_{number}_copy"))).unwrap();
            }
        }
        assert_eq!(runs_of(&folder, &[]), [[0, 1, 2], [0, 1, 2]], "{uid:?}");
    }
}

/// Puts three volumes of two series that were acquired at the same times into a folder.
fn together(folder: &Path, put: impl Fn(&Path, &str, &[u8])) {
    for number in 1..=3 {
        for series in ["7", "8"] {
            let time = time(number, 1.5);
            let edits = [(fixture::ACQUISITION_TIME, time.as_str()), (tags::SERIES_NUMBER, series)];
            let name = format!("{}_{number}", if series == "7" { "z" } else { "a" });
            put(folder, &name, &of_series(series, number, &edits));
        }
    }
}

#[test]
fn of_series_acquired_together_the_same_one_is_taken_live_and_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let (_outer, listed) = folder();
        together(&listed, |folder, name, bytes| fs::write(folder.join(name), bytes).unwrap());
        let mut adapter = once(&listed, &[]);
        let runs = contract::holds(&mut adapter);
        let counts = adapter.counts();
        assert_eq!((counts.left_out, counts.refused), (3, 0));
        // Started late, and watching.
        let mut late = watching(&listed, &["--volumes", "3"]);
        let (_outer, live) = folder();
        let mut adapter = watching(&live, &["--volumes", "3"]);
        together(&live, rename_in);
        for adapter in [&mut adapter, &mut late] {
            let header = adapter.start_run().unwrap().unwrap();
            assert_eq!(header.series_id, runs[0].0.series_id);
            let next = || adapter.next_volume().unwrap().map(|volume| volume.index.0);
            assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), [0, 1, 2]);
        }
        assert_eq!((runs.len(), indices(&runs[0].1)), (1, vec![0, 1, 2]));
        // The other one, if it is asked for.
        assert_eq!(runs_of(&listed, &["--series", "8"]), [[0, 1, 2]]);
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let named = log.matches("same times as a run (--series 8 takes them instead)");
    assert!((1..=3).contains(&named.count()), "once for each adapter: {log}");
    assert!(!log.contains("series 7: left out: images of a series that was acquired"), "{log}");
}

#[test]
fn two_visits_at_the_same_time_of_day_are_both_runs() {
    let (_outer, folder) = folder();
    for (visit, series) in [("1.2.3.1", "1"), ("1.2.3.2", "2")] {
        for number in 1..=3 {
            let time = time(number, 1.5);
            let edits =
                [(fixture::ACQUISITION_TIME, time.as_str()), (tags::STUDY_INSTANCE_UID, visit)];
            let name = format!("{series}_{number}");
            fs::write(folder.join(name), of_series(series, number, &edits)).unwrap();
        }
    }
    assert_eq!(runs_of(&folder, &[]), [[0, 1, 2], [0, 1, 2]]);
}

/// A de-identified export can give the series of two participants one UID and one number.
#[test]
fn series_of_two_visits_with_one_uid_are_both_runs() {
    let (_outer, folder) = folder();
    for (visit, hour) in [("1.2.3.1", "09"), ("1.2.3.2", "10")] {
        for number in 1..=3 {
            let time = format!("{hour}{}", &time(number, 1.5)[2..]);
            let edits =
                [(fixture::ACQUISITION_TIME, time.as_str()), (tags::STUDY_INSTANCE_UID, visit)];
            fs::write(folder.join(format!("{hour}_{number}")), of_series("1", number, &edits))
                .unwrap();
        }
    }
    assert_eq!(runs_of(&folder, &[]), [[0, 1, 2], [0, 1, 2]]);
}

/// A copy that failed leaves an empty file; other empty files are signs that an export is over.
#[test]
fn an_empty_image_is_lost_and_an_empty_file_of_another_name_is_not() {
    let (_outer, folder) = folder();
    fs::write(folder.join("1.dcm"), of_series("1", 1, &[])).unwrap();
    for (name, n_lost) in [("finished", 0), ("2.DCM", 1)] {
        fs::write(folder.join(name), b"").unwrap();
        let mut adapter = once(&folder, &[]);
        let refused = adapter.refused().unwrap();
        assert_eq!(contract::holds(&mut adapter).len(), 1);
        assert_eq!(refused.load(Ordering::Relaxed), n_lost, "{name}");
    }
}

#[test]
fn series_whose_clock_stands_still_are_not_taken_for_copies() {
    let (_outer, folder) = folder();
    for (series, n) in [("7", 1), ("8", 3)] {
        for number in 1..=n {
            let edits = [(fixture::ACQUISITION_TIME, "000000"), (tags::SERIES_NUMBER, series)];
            let name = format!("{series}_{number}");
            fs::write(folder.join(name), of_series(series, number, &edits)).unwrap();
        }
    }
    assert_eq!(runs_of(&folder, &[]), [vec![0], vec![0, 1, 2]]);
}

#[test]
fn a_volume_acquired_just_before_the_run_does_not_cost_its_first_one() {
    let (_outer, folder) = folder();
    let edits = [(fixture::ACQUISITION_TIME, "100000"), (tags::SERIES_NUMBER, "7")];
    fs::write(folder.join("reference"), of_series("7", 1, &edits)).unwrap();
    for number in 1..=3 {
        let time = time(number, 1.5);
        let edits = [(fixture::ACQUISITION_TIME, time.as_str()), (tags::SERIES_NUMBER, "8")];
        fs::write(folder.join(number.to_string()), of_series("8", number, &edits)).unwrap();
    }
    assert_eq!(runs_of(&folder, &[]), [vec![0], vec![0, 1, 2]]);
}

#[test]
fn folders_that_appear_below_are_read_and_named_by_a_hash() {
    let (_outer, folder) = folder();
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // The folders are watched by a thread of their own.
    let (_guard, told) = (tracing::subscriber::set_default(subscriber), log);
    let mut adapter = watching(&folder, &["--volumes", "2", "--poll-ms", "20"]);
    let below = folder.join("Doe^Jane/20240101.s01");
    fs::create_dir_all(&below).unwrap();
    rename_in(&below, "1", &of_series("1", 1, &[]));
    assert!(adapter.start_run().unwrap().is_some());
    rename_in(&below, "2", &of_series("1", 2, &[]));
    let next = || adapter.next_volume().unwrap().map(|volume| volume.index.0);
    assert_eq!(std::iter::from_fn(next).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(runs_of(&folder, &[]), [[0, 1]]);
    let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
    assert!(!told.contains("Doe"), "{told}");
}

#[test]
fn files_that_are_no_images_are_one_line() {
    let (_outer, folder) = folder();
    fs::write(folder.join("1"), of_series("1", 1, &[])).unwrap();
    for number in 0..20 {
        fs::write(folder.join(format!("small{number}")), b"x").unwrap();
        fs::write(folder.join(format!("notes{number}")), [b'x'; 500]).unwrap();
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut adapter = once(&folder, &[]);
        assert_eq!(contract::holds(&mut adapter).len(), 1);
        let counts = adapter.counts();
        assert_eq!((counts.other_files, counts.given_up, counts.refused), (40, 0, 0));
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("skipped").count(), 1, "{log}");
    assert!(log.contains("other_files=40") && !log.contains("WARN"), "{log}");
}
