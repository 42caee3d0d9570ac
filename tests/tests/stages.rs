//! With every stage on that may be left out, a live model still gets the windows of training, and
//! neither a replay nor a restart changes a bit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_adapter::synthetic::SyntheticOptions;
use corticast_tests::{
    Kept, Site, concepts, corticast, probabilities, published, results, scan_for_feedback,
};
use corticast_wire::message::{FromAdapter, ToAdapter};
use safetensors::SafeTensors;
use serde_json::Value;

const VOLUMES: u32 = 70;

const STAGES: &str = "\
[slice_timing]
times_s = [0.0, 0.5, 0.1, 0.6, 0.2, 0.7, 0.3, 0.8, 0.4, 0.9]
[realign]
[smooth]
fwhm_mm = 14.0
[denoise]
motion = \"24\"
high_pass_s = 100.0
nuisance = [\"roi-shoe.nii.gz\", \"roi-cat.nii.gz\"]
design = \"sub-demo_task-shapes_run-1_events.tsv\"
[feedback]
events = \"design.tsv\"
source = { kind = \"roi_difference\", plus = \"face\", minus = \"house\" }
rois = { face = \"roi-face.nii.gz\", house = \"roi-house.nii.gz\" }
smoothing_s = 2.0
";

/// What `prepare` writes: the folder of the run.
fn prepared(site: &Site, to: &str) -> std::path::PathBuf {
    let [config, bold, out] = [site.config(), site.bold(), site.path(to)];
    let arguments = ["prepare", "--config", config.to_str().unwrap(), "--run"];
    let more = [bold.to_str().unwrap(), "--out", out.to_str().unwrap()];
    drop(corticast(site, [&arguments[..], &more].concat()).expect(0, &[]));
    out.join(site.run_name())
}

/// A site whose head moves, and whose model was trained with the stages of `prepare`.
fn site() -> Site {
    let scan = SyntheticOptions { motion_mm: 1.5, ..scan_for_feedback(VOLUMES) };
    let site = Site::with_scan(scan, "nearest");
    let design = "onset\tduration\ttrial_type\n0\t20\tbaseline\n20\t20\tregulate\n40\t10\tbaseline\n\
                  50\t20\tregulate\n";
    std::fs::write(site.path("design.tsv"), design).unwrap();
    site.configure(STAGES);
    let with_model = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), with_model.replace("dir = \"model\"", "")).unwrap();
    let text = std::fs::read_to_string(prepared(&site, "untrained").join("prepared.toml")).unwrap();
    let facts: toml::Table = text.parse().unwrap();
    site.edit_manifest(|manifest| drop(manifest.insert("stages".into(), facts["stages"].clone())));
    std::fs::write(site.config(), with_model).unwrap();
    site
}

fn live(site: &Site) -> (Vec<Value>, Vec<Value>) {
    let kept = Kept::new(site, "live");
    let daemon = kept.start(&[""; 0]);
    assert_eq!(daemon.scan(site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    (kept.results(), published(&kept.recording(), "feedback"))
}

#[test]
fn training_live_session_and_replay_see_the_same_windows() {
    let site = site();
    let (live, scores) = live(&site);
    assert!(live.len() > 50 && scores.len() > 60, "{} and {}", live.len(), scores.len());
    let kept = Kept::new(&site, "live");
    assert_eq!(kept.replayed().0, live, "the replay of the recording");
    let [config, bold, out] = [site.config(), site.bold(), site.path("file.jsonl")];
    let arguments =
        ["replay", "--config", config.to_str().unwrap(), "--run", bold.to_str().unwrap()];
    let more = ["--results", out.to_str().unwrap()];
    drop(corticast(&site, [&arguments[..], &more].concat()).expect(0, &[]));
    assert_eq!(results(&out), live, "the replay of the file");

    let bytes = std::fs::read(prepared(&site, "prepared").join("data.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let windows = tensors.tensor("windows").unwrap();
    assert_eq!(windows.shape(), [live.len(), 1, 4]);
    for (window, result) in windows.data().as_chunks::<16>().0.iter().zip(&live) {
        let at = |n: usize| f32::from_le_bytes(window[4 * n..4 * n + 4].try_into().unwrap());
        let bold = [at(0), at(1), at(2), at(3)];
        // The network computes in f32.
        for (found, by_hand) in concepts(result).into_iter().zip(probabilities(bold)) {
            assert!((found - by_hand).abs() < 1e-5, "{bold:?}: {found}, {by_hand}");
        }
    }
}

#[test]
fn half_a_run_and_a_kill_in_the_middle_change_nothing() {
    let site = site();
    let (whole, scores) = live(&site);
    let (header, volumes) = site.acquire();
    let half = Kept::new(&site, "half");
    let daemon = half.start(&[""; 0]);
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..35]);
    assert_eq!(daemon.stop().code, Some(0));
    let found = half.results();
    assert!(found.len() > 20, "{}", found.len());
    assert_eq!(found, whole[..found.len()]);

    let killed = Kept::new(&site, "killed");
    let daemon = killed.start(&[""; 0]);
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..35]);
    daemon.process.kill();
    let daemon = killed.start(&[""; 0]);
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header, resume: true });
    match talk.answer() {
        ToAdapter::Ready(ready) => assert_eq!(ready.next_index, 35),
        other => panic!("expected ready, got {other:?}"),
    }
    talk.send_volumes(&run, &volumes[35..]);
    talk.end_run(&run, VOLUMES);
    daemon.wait_for_end_of_run();
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(killed.results(), whole);
    assert_eq!(published(&killed.recording(), "feedback"), scores);
}

#[test]
fn other_stages_than_those_of_training_are_refused_with_both_values() {
    let site = site();
    let check = |words: &[&str]| {
        let checked = corticast(&site, ["check", "--config", site.config().to_str().unwrap()]);
        drop(checked.expect(78, words));
    };
    site.configure(&STAGES.replace("14.0", "8.0"));
    check(&["[smooth]: the model was trained with fwhm_mm = 14.0, the session has fwhm_mm = 8.0"]);
    site.configure(&STAGES.replace("high_pass_s = 100.0", "high_pass_s = 60.0"));
    check(&["[denoise]: the model was trained with", "100.0", "60.0"]);
    site.configure(&STAGES.replace("\"roi-shoe.nii.gz\", ", ""));
    check(&["[denoise]", "n_nuisance = 2", "n_nuisance = 1"]);
    site.configure("");
    check(&["the model was trained with 2 nuisance masks; name them in `nuisance` of [denoise]"]);
    site.configure(STAGES);
    site.edit_manifest(|manifest| drop(manifest.remove("stages")));
    check(&["[slice_timing]: the model was trained with no such stage, the session has times_s"]);
}
