//! Bad input to feedback and to the stages before it: each has an outcome that the operator is told,
//! and none stops a run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use corticast_adapter::synthetic::SyntheticOptions;
use corticast_images::acquired::AcquiredVolume;
use corticast_tests::{Kept, Site, corticast, published, scan_for_feedback, with_feedback};
use serde_json::Value;

const CHANGE: &str = r#"{ kind = "roi_change", roi = "face" }"#;

fn site(volumes: u32) -> Site {
    let site = Site::with_scan(scan_for_feedback(volumes), "nearest");
    with_feedback(&site, CHANGE, "", "");
    site
}

/// `corticast check` must fail with these words.
fn refused(site: &Site, words: &[&str]) {
    let checked = corticast(site, ["check", "--config", site.config().to_str().unwrap()]);
    drop(checked.expect(78, words));
}

fn design(site: &Site, rows: &str) {
    let text = format!("onset\tduration\ttrial_type\n{rows}");
    std::fs::write(site.path("design.tsv"), text).unwrap();
}

/// Sends volumes as one run. Returns scores, reports on volumes, and what the operator was told.
fn run(site: &Site, volumes: &[AcquiredVolume]) -> [Vec<Value>; 3] {
    let kept = Kept::new(site, "run");
    let daemon = kept.start(&[""; 0]);
    let (header, _) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, volumes);
    talk.end_run(&run, volumes.len() as u32);
    daemon.wait_for_end_of_run();
    // 3: a volume was dropped.
    assert!(matches!(daemon.stop().code, Some(0 | 3)));
    ["feedback", "volume", "status"].map(|topic| published(&kept.recording(), topic))
}

/// A NIfTI file with one value of int16 in all voxels, made of a mask of the site.
fn filled(site: &Site, name: &str, voxel: impl Fn(usize) -> i16) {
    use std::io::{Read as _, Write as _};
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(site.path("mask.nii.gz")).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let start = f32::from_le_bytes(bytes[108..112].try_into().unwrap()) as usize;
    for (at, pair) in bytes[start..].as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *pair = voxel(at).to_le_bytes();
    }
    std::fs::File::create(site.path(name)).unwrap().write_all(&bytes).unwrap();
}

#[test]
fn a_design_that_is_none_is_refused_with_its_event() {
    let site = site(60);
    design(&site, "0\t20\tbaseline\n10\t20\tface\n");
    refused(&site, &["(`face`) starts at 10 s, inside `baseline`, which lasts until 20 s"]);
    design(&site, "0\t20\tbaseline\n20\t20\tdog\n");
    refused(&site, &["unknown trial_type `dog`", "[\"cat\", \"face\", \"house\", \"shoe\"]"]);
    design(&site, "0\t20\tface\n");
    refused(&site, &["no `baseline` block among 1 blocks"]);
    design(&site, "0\t20\tbaseline\n20\t0\tface\n");
    refused(&site, &["duration is 0 s, expected more than 0 s"]);
    design(&site, "0\t20\tbaseline\n20\t20\tface\n40\t2\tbaseline\n");
    with_keys(&site, "presentation = \"intermittent\"");
    refused(&site, &["lasts 0 s; intermittent feedback is shown there and needs more than 4.25 s"]);
}

#[test]
fn a_check_refuses_what_a_run_would_refuse() {
    let site = site(60);
    let with = |sections: &str| with_feedback(&site, CHANGE, "", sections);
    let rtpspy = |value: &str| {
        format!("[sinks.rtpspy]\nconnect = \"127.0.0.1:5570\"\nvalue = \"{value}\"\n")
    };
    with(&rtpspy("concept:fase"));
    let known = "expected one of [\"bottle\", \"cat\", \"chair\"]";
    refused(&site, &["[sinks.rtpspy] is \"concept:fase\", which the model does not decode", known]);
    with(&rtpspy("concept:cat"));
    accepted(&site);
    with(&rtpspy("fd"));
    refused(&site, &["[sinks.rtpspy] is \"fd\", but volumes are not realigned"]);
    with("[outputs]\nreport = \"reports\"\n");
    refused(&site, &["`report` in [outputs] needs a recording", "--record"]);
    let config = site.config();
    let words = ["check", "--record", "a.mcap", "--config", config.to_str().unwrap()];
    drop(corticast(&site, words).expect(0, &[]));
    with("[sinks.rtcloud]\nfolder = \"design.tsv\"\n");
    refused(&site, &["`folder` in [sinks.rtcloud]", "design.tsv is a file, expected a folder"]);
    let both = "[sinks]\nmurfi = { listen = \"127.0.0.1:15001\" }\npyneal = { listen = \
                \"127.0.0.1:15001\" }\n";
    with(both);
    refused(&site, &["[sinks.pyneal] is 127.0.0.1:15001, which `listen` in [sinks.murfi] has too"]);
    drop(
        corticast(&site, ["run", "--config", config.to_str().unwrap()])
            .expect(78, &["expected a port of its own"]),
    );
}

#[test]
fn slice_times_are_checked_against_the_mask() {
    let site = site(60);
    site.leave_out_model();
    for (times, expected) in [
        ("[]", "there are 0 slice times, expected 10: one for each slice along z"),
        ("[0.0]", "there are 1 slice times, expected 10"),
        ("[nan, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "the time of slice 0 is NaN s"),
        ("[0, -1.0, 0, 0, 0, 0, 0, 0, 0, 0]", "the time of slice 1 is -1 s, expected at least 0 s"),
        ("[0, 0, 1e300, 0, 0, 0, 0, 0, 0, 0]", "the time of slice 2 is 1e300 s"),
        ("[0, 0, 0, 500, 0, 0, 0, 0, 0, 0]", "slice times are in s, not in ms"),
    ] {
        let times = times.replace(" 0,", " 0.0,").replace("[0,", "[0.0,").replace(" 0]", " 0.0]");
        let times = times.replace("500", "500.0");
        with_feedback(&site, CHANGE, "", &format!("[slice_timing]\ntimes_s = {times}\n"));
        site.leave_out_model();
        refused(&site, &["[slice_timing]: ", expected]);
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let site = site(60);
    let pipe = site.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (section, file) in [("[slice_timing]\nsidecar", "/dev/zero"), ("[realign]\nimage", "pipe")]
    {
        with_feedback(&site, CHANGE, "", &format!("{section} = \"{file}\"\n"));
        site.leave_out_model();
        refused(&site, &["expected a regular file"]);
    }
    for file in ["assignment", "key", "scores"] {
        let sham = ["assignment", "key", "scores"].map(|key| {
            let named = if key == file { "/dev/zero" } else { "design.tsv" };
            format!("{key} = \"{named}\"\n")
        });
        let sections = format!("[session]\nname = \"x\"\n[feedback.sham]\n{}", sham.concat());
        with_feedback(&site, CHANGE, "", &sections);
        // The assignment is read first; it is none, or it is the device.
        refused(&site, &["[feedback]: ", if file == "assignment" { "a device" } else { "" }]);
    }
    with_feedback(&site, CHANGE, "", "");
    std::fs::remove_file(site.path("design.tsv")).unwrap();
    std::fs::rename(&pipe, site.path("design.tsv")).unwrap();
    refused(&site, &["design.tsv", "it is a pipe, expected a regular file"]);
}

fn accepted(site: &Site) {
    let checked = corticast(site, ["check", "--config", site.config().to_str().unwrap()]);
    drop(checked.expect(0, &[]));
}

/// Configures further keys and leaves the design as it is.
fn with_keys(site: &Site, keys: &str) {
    let design = std::fs::read(site.path("design.tsv")).unwrap();
    with_feedback(site, CHANGE, keys, "");
    std::fs::write(site.path("design.tsv"), design).unwrap();
}

#[test]
fn a_run_goes_on_after_its_design_and_shows_nothing() {
    let site = site(60);
    design(&site, "0\t16\tbaseline\n16\t12\tface\n28\t6\trest\n");
    let (_, volumes) = site.acquire();
    let [scores, reports, _] = run(&site, &volumes);
    assert_eq!((scores.len(), reports.len()), (60, 60));
    for score in &scores {
        let beyond = score["stimulus_time_s"].as_f64().unwrap() >= 34.0;
        assert_eq!(score["is_beyond_design"] == true, beyond, "{score}");
        assert!(!beyond || (score["score"].is_null() && score["block"] == "rest"), "{score}");
    }
    assert!(scores.iter().any(|score| score["score"].is_number()));
}

#[test]
fn a_baseline_that_is_too_short_refuses_the_run() {
    let site = site(60);
    design(&site, "0\t8\tbaseline\n8\t12\tface\n");
    let daemon = Kept::new(&site, "short").start(&[""; 0]);
    let talk = daemon.talk();
    let header = site.acquire().0;
    talk.say(&corticast_wire::message::FromAdapter::Run { header, resume: false });
    let reason = talk.refusal();
    assert!(reason.contains("baseline blocks last 8 s, which is 8 volumes at a TR of"), "{reason}");
}

#[test]
fn a_region_that_is_no_region_is_refused_and_one_without_signal_has_no_score() {
    let site = site(60);
    let face = std::fs::read(site.path("roi-face.nii.gz")).unwrap();
    filled(&site, "empty.nii", |_| 0);
    std::fs::copy(site.path("empty.nii"), site.path("roi-face.nii")).unwrap();
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("roi-face.nii.gz", "empty.nii")).unwrap();
    refused(&site, &["empty.nii", "every voxel is 0"]);
    // Another matrix, for a region and for the reference image.
    let other = Site::with_matrix(4, "nearest", [10, 10, 8]);
    std::fs::copy(other.path("mask.nii.gz"), site.path("roi-face.nii.gz")).unwrap();
    std::fs::write(site.config(), &text).unwrap();
    refused(&site, &["roi-face.nii.gz is not on the grid of the mask", "[10, 10, 8]"]);
    std::fs::write(site.path("roi-face.nii.gz"), face).unwrap();
    std::fs::copy(other.path("mask.nii.gz"), site.path("reference.nii.gz")).unwrap();
    with_feedback(&site, CHANGE, "", "[realign]\nimage = \"reference.nii.gz\"\n");
    site.leave_out_model();
    refused(&site, &["reference.nii.gz is not on the grid of the mask"]);
    filled(&site, "reference.nii", |_| 700);
    with_feedback(&site, CHANGE, "", "[realign]\nimage = \"reference.nii\"\n");
    site.leave_out_model();
    refused(&site, &["the reference is empty or constant"]);

    // A region outside the head, where the signal is 0.
    filled(&site, "corner.nii", |at| i16::from(at < 3));
    let text = text.replace("roi-face.nii.gz", "corner.nii");
    std::fs::write(site.config(), text).unwrap();
    let (_, mut volumes) = site.acquire();
    for volume in &mut volumes {
        let mut voxels = volume.voxels.to_vec();
        // C order: x is slowest, so voxel 0, 1, 2 along x are far apart.
        for x in 0..3 {
            voxels[x * 16 * 10 * 2..x * 16 * 10 * 2 + 2].fill(0);
        }
        volume.voxels = Bytes::from(voxels);
    }
    let [scores, reports, status] = run(&site, &volumes);
    assert_eq!((scores.len(), reports.len()), (60, 60));
    assert!(scores.iter().all(|score| score["score"].is_null() && score["own"]["n_baseline"] == 0));
    let told = |words: &str| status.iter().any(|s| s["message"].as_str().unwrap().contains(words));
    assert!(told("a region without signal"), "{status:?}");
}

#[test]
fn a_volume_that_moved_20_mm_is_marked_and_realignment_goes_on() {
    let scan = SyntheticOptions { noise_percent: 0.5, ..scan_for_feedback(60) };
    let site = Site::with_scan(scan.clone(), "nearest");
    let sections = "[realign]\n[quality]\non_spike = \"hold_feedback\"\n";
    with_feedback(&site, CHANGE, "bad_data = \"neutral\"", sections);
    site.leave_out_model();
    let (_, mut volumes) = site.acquire();
    // Volume 45 is moved by 2 voxels along x, which is 24 mm.
    let plane = 16 * 10 * 2;
    let mut moved = volumes[45].voxels.to_vec();
    moved.rotate_right(2 * plane);
    volumes[45].voxels = Bytes::from(moved);
    let [scores, reports, _] = run(&site, &volumes);
    assert!(reports.iter().all(|report| report["dropped"].is_null()));
    let spikes: Vec<_> = reports
        .iter()
        .filter(|r| r["is_spike"] == true)
        .map(|r| r["index"].as_u64().unwrap())
        .collect();
    assert!(spikes.contains(&45) && spikes.contains(&46), "there and back: {spikes:?}");
    assert!(scores[45]["is_bad_data"] == true, "{}", scores[45]);
    let fd = |at: usize| reports[at]["fd_mm"].as_f64().unwrap();
    assert!(fd(45) > 10.0, "{} mm", fd(45));
    // The volumes after it are where they were.
    assert!((48..60).all(|at| fd(at) < 0.5), "{:?}", (44..60).map(fd).collect::<Vec<_>>());
    // A head that drifts by 20 mm and back is followed, with finite numbers.
    let far = SyntheticOptions { motion_mm: 20.0, ..scan };
    let site = Site::with_scan(far, "nearest");
    with_feedback(&site, CHANGE, "", "[realign]\n");
    site.leave_out_model();
    let (_, volumes) = site.acquire();
    let [scores, reports, _] = run(&site, &volumes);
    assert_eq!((scores.len(), reports.len()), (60, 60));
    assert!(
        reports
            .iter()
            .all(|r| r["dropped"].is_null() && (r["index"] == 0 || r["fd_mm"].is_number()))
    );
}

#[test]
fn empty_and_constant_volumes_are_dropped_and_singular_regressors_change_nothing() {
    let site = site(60);
    // A nuisance region outside the head, whose signal is constant: it can be told from nothing.
    filled(&site, "nuisance.nii", |at| i16::from(at < 2));
    let sections = "[realign]\n[denoise]\nmotion = \"24\"\nnuisance = [\"nuisance.nii\"]\n\
                    high_pass_s = 60.0\n";
    with_feedback(&site, CHANGE, "", sections);
    site.leave_out_model();
    let (_, mut volumes) = site.acquire();
    for volume in &mut volumes {
        let mut voxels = volume.voxels.to_vec();
        for x in 0..2 {
            voxels[x * 16 * 10 * 2..x * 16 * 10 * 2 + 2].copy_from_slice(&30_i16.to_le_bytes());
        }
        volume.voxels = Bytes::from(voxels);
    }
    let n_byte = volumes[0].voxels.len();
    volumes[30].voxels = Bytes::from(vec![0; n_byte]);
    volumes[40].voxels = [700_i16.to_le_bytes(); 1].concat().repeat(n_byte / 2).into();
    let [scores, reports, told] = run(&site, &volumes);
    assert_eq!((scores.len(), reports.len()), (60, 60));
    for (at, signal) in [(30, "one signal, 0.000e0, in all"), (40, "one signal, 7.000e2, in")] {
        let reason = reports[at]["dropped"].as_str().unwrap();
        assert!(reason.contains(signal), "{reason}");
        assert!(reports[at]["dvars"].is_null() && reports[at]["fd_mm"].is_null());
        // The participant still sees the score before.
        assert!(scores[at]["is_bad_data"] == true, "{}", scores[at]);
        assert_eq!(scores[at]["score"], scores[at - 1]["score"]);
    }
    let message = |status: &Value| status["message"].as_str().unwrap().to_owned();
    let outside = told.iter().map(message).filter(|text| text.contains("outside the head"));
    let outside: Vec<_> = outside.collect();
    assert!(outside.len() == 1 && outside[0].contains("region 1 ("), "{outside:?}");
    assert!((0..60).filter(|at| ![30, 40].contains(at)).all(|at| reports[at]["dropped"].is_null()));
    let finite = |value: &Value| value.is_null() || value.as_f64().is_some_and(f64::is_finite);
    assert!(scores.iter().all(|score| finite(&score["own"]["raw"])));
    assert!(scores[59]["own"]["raw"].is_number(), "{}", scores[59]);
}

#[test]
fn nothing_is_shown_of_volumes_that_are_not_found_in_the_reference() {
    let site = site(60);
    // Without a policy for spikes.
    with_feedback(&site, CHANGE, "bad_data = \"blank\"", "[realign]\n");
    site.leave_out_model();
    let (_, mut volumes) = site.acquire();
    for volume in &mut volumes[30..34] {
        // The same voxels in another order.
        let mut voxels = volume.voxels.as_chunks::<2>().0.to_vec();
        let n = voxels.len();
        (0..n).for_each(|at| voxels.swap(at, at * 7919 % n));
        volume.voxels = voxels.concat().into();
    }
    let [scores, reports, told] = run(&site, &volumes);
    for (at, (score, report)) in scores.iter().zip(&reports).enumerate() {
        let is_lost = (30..34).contains(&at);
        assert_eq!(report["motion"]["outcome"] == "failed", is_lost, "{report}");
        assert_eq!(score["is_bad_data"] == true, is_lost, "{score}");
        if is_lost {
            assert!(report["is_spike"] == true && report["fd_mm"].is_null(), "{report}");
            assert!(score["score"].is_null(), "{score}");
        }
    }
    // The volume after them has no volume before it.
    assert!(reports[34]["fd_mm"].is_null() && reports[35]["fd_mm"].is_number());
    let alarms: Vec<_> = told.iter().filter(|status| status["level"] == "alarm").collect();
    assert_eq!(alarms.len(), 1, "{told:?}");
    let text = alarms[0]["message"].as_str().unwrap();
    assert!(text.contains("the 2 volumes before it were not found in the reference"), "{text}");
}
