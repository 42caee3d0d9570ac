//! The participant's feedback: it follows the brain, it is recorded, and neither a replay nor a
//! restart changes a bit of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;

use corticast_adapter::synthetic::design::Response;
use corticast_images::source::ScannerAdapter as _;
use corticast_tests::{
    Kept, PATIENCE, Site, corticast, published, results, scan_for_feedback, score_of, wait_for,
    with_feedback, without_ns,
};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

const TWO_ROIS: &str = r#"{ kind = "roi_difference", plus = "face", minus = "house" }"#;
const CONCEPT: &str = r#"{ kind = "concepts", names = ["cat"] }"#;

fn site(volumes: u32, source: &str, keys: &str) -> Site {
    let site = Site::with_scan(scan_for_feedback(volumes), "nearest");
    with_feedback(&site, source, keys, "");
    site
}

/// Sends the whole scan and ends. Returns the recorded scores.
fn scores(site: &Site, kept: &Kept<'_>) -> Vec<Value> {
    let daemon = kept.start(&[""; 0]);
    assert_eq!(daemon.scan(site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    published(&kept.recording(), "feedback")
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("`{key}` in {report}"))
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (a, b) = (mean(|p| p.0), mean(|p| p.1));
    let sum =
        |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| of(p.0 - a, p.1 - b)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn two_regions_follow_the_known_response_at_the_stated_delay() {
    let site = site(240, TWO_ROIS, "");
    let kept = Kept::new(&site, "live");
    let daemon = kept.start(&[""; 0]);
    let watch = daemon.watch();
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    let mut heard = Vec::new();
    while heard.len() < 240 {
        let (topic, header) = watch.next(PATIENCE).unwrap();
        if topic == "feedback" {
            heard.push(without_ns(header));
        }
    }
    assert_eq!(daemon.stop().code, Some(0));
    // Published as it was recorded: there is nothing to hide without a sealed assignment.
    let recorded = published(&kept.recording(), "feedback");
    assert_eq!(recorded, heard);

    let (scanner, response) = (site.scanner(), Response::canonical());
    let known = |time_s: f64| -> f64 {
        let of = |class: &str| -> f64 {
            let shown = scanner.events().iter().filter(|event| event.trial_type == class);
            shown.map(|event| response.at(time_s, event)).sum()
        };
        of("face") - of("house")
    };
    let mut pairs = Vec::new();
    for (index, report) in (0_u32..).zip(&recorded) {
        let (time_s, stimulus_s) =
            (number(report, "acquisition_time_s"), number(report, "stimulus_time_s"));
        assert_eq!(report["index"], index);
        let delay_s = time_s - stimulus_s;
        assert!((delay_s - 4.25).abs() < 1e-12, "{delay_s} s, the configuration states 4.25 s");
        // The baseline settles within its first blocks.
        if let Some(raw) = report["own"]["raw"].as_f64().filter(|_| index > 40) {
            pairs.push((raw, known(time_s)));
        }
    }
    let r = correlation(&pairs);
    assert!(pairs.len() > 190 && r >= 0.9, "r = {r} over {} volumes", pairs.len());
    // Where the participant regulates, the shown score is high, and it is shown nowhere else.
    let shown: Vec<&Value> = recorded.iter().filter(|r| r["score"].is_number()).collect();
    assert!(
        shown.iter().all(|report| report["block"] == "regulate" && report["condition"] == "face")
    );
    let mean = shown.iter().map(|r| number(r, "score")).sum::<f64>() / shown.len() as f64;
    assert!(shown.len() > 25 && mean > 0.7, "{} scores of {mean}", shown.len());

    // A replay gives the same scores.
    let again = site.path("again.mcap");
    replay(&site, &kept, &again);
    assert_eq!(published(&again, "feedback"), recorded);
}

fn replay(site: &Site, kept: &Kept<'_>, to: &std::path::Path) {
    let (config, results) = (site.config(), site.path("again.jsonl"));
    let [config, run, to, results] = [&config, &kept.recording(), to, &results]
        .map(|p: &std::path::Path| p.to_str().unwrap().to_owned());
    let arguments = ["replay", "--config", &config, "--run", &run, "--record", &to];
    let more = ["--results", &results, "--overwrite"];
    drop(corticast(site, [&arguments[..], &more].concat()).expect(0, &[]));
}

#[test]
fn the_probability_of_a_concept_is_shown_as_a_mean_after_its_block() {
    let site = site(120, CONCEPT, "presentation = \"intermittent\"\nz_range = [-1.0, 3.0]");
    let kept = Kept::new(&site, "live");
    let recorded = scores(&site, &kept);
    // The raw score is the published probability of its window.
    let decoded = results(&kept.results_file());
    assert_eq!(recorded.len(), decoded.len());
    let mut baseline: Vec<f64> = Vec::new();
    let mut block: Vec<f64> = Vec::new();
    let mut n_mean = 0;
    for (report, result) in recorded.iter().zip(&decoded) {
        assert_eq!(
            (&report["index"], &report["stimulus_time_s"]),
            (&result["index"], &result["stimulus_time_s"])
        );
        // The network computes in f32, and a probability is written as its shortest decimal.
        let raw = number(&report["own"], "raw");
        assert!((raw - number(&result["concepts"], "cat")).abs() < 1e-7, "{report} {result}");
        match report["block"].as_str().unwrap() {
            "baseline" => baseline.push(raw),
            "regulate" if baseline.len() >= 10 => {
                let n = baseline.len() as f64;
                let mean = baseline.iter().sum::<f64>() / n;
                let sd = (baseline.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
                let by_hand = (((raw - mean) / sd + 1.0) / 4.0).clamp(0.0, 1.0);
                assert!((number(&report["own"], "score") - by_hand).abs() < 1e-9, "{report}");
                block.push(by_hand);
            }
            _ => {}
        }
        if report["state"] == "block_mean" {
            assert_eq!(report["block"], "rest");
            let mean = block.iter().sum::<f64>() / block.len() as f64;
            assert!((number(report, "score") - mean).abs() < 1e-9, "{report}: {mean}");
            n_mean += 1;
        } else {
            assert!(report["score"].is_null(), "{report}");
            if report["block"] != "regulate" {
                block.clear();
            }
        }
    }
    assert!(n_mean > 0, "no mean was shown");
    let again = site.path("again.mcap");
    replay(&site, &kept, &again);
    assert_eq!(published(&again, "feedback"), recorded);
}

/// Sends the scan with a kill -9 of the daemon before each of these volumes. Returns the scores.
fn with_kills(site: &Site, kills: &[usize], volumes: usize) -> (Vec<Value>, Vec<String>) {
    let kept = Kept::new(site, "killed");
    let mut daemon = kept.start(&[""; 0]);
    let (header, scan) = site.acquire();
    let mut talk = daemon.talk();
    let run = talk.start_run(&header).run;
    let (mut sent, mut logs) = (0, Vec::new());
    for &at in kills.iter().chain([&volumes]) {
        talk.send_volumes(&run, &scan[sent..at]);
        sent = at;
        logs.push(daemon.process.log());
        if at == volumes {
            break;
        }
        daemon.process.kill();
        daemon = kept.start(&[""; 0]);
        talk = daemon.talk();
        talk.say(&FromAdapter::Run { header: header.clone(), resume: true });
        match talk.answer() {
            ToAdapter::Ready(ready) => assert_eq!(ready.next_index as usize, at),
            other => panic!("expected ready, got {other:?}"),
        }
    }
    talk.end_run(&run, volumes as u32);
    daemon.wait_for_end_of_run();
    logs.push(daemon.process.log());
    assert_eq!(daemon.stop().code, Some(0));
    (published(&kept.recording(), "feedback"), logs)
}

#[test]
fn a_kill_in_the_middle_changes_no_score_and_publishes_none_twice() {
    for (source, keys) in [
        (TWO_ROIS, "smoothing_s = 3.0"),
        (CONCEPT, "smoothing_s = 3.0\nscaling = \"percentile\""),
        (TWO_ROIS, "presentation = \"intermittent\"\ndirection = \"down\""),
    ] {
        let site = site(160, source, keys);
        let expected = scores(&site, &Kept::new(&site, "undisturbed"));
        let (found, _) = with_kills(&site, &[50, 93, 94, 131], 160);
        assert_eq!(found.len(), expected.len(), "{source}");
        let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        assert_eq!(differs, None, "{source}");
    }
}

#[test]
fn a_restart_from_a_checkpoint_changes_no_score() {
    // More volumes than lie between two checkpoints (4096).
    let volumes = 4_300;
    let site = site(volumes, TWO_ROIS, "smoothing_s = 3.0");
    let expected = scores(&site, &Kept::new(&site, "undisturbed"));
    let (found, logs) = with_kills(&site, &[4_200], volumes as usize);
    assert!(logs.last().unwrap().contains("from a checkpoint"), "{logs:?}");
    assert_eq!(found.len(), expected.len());
    let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    assert_eq!(differs, None);
}

#[test]
fn no_score_is_published_after_blank_was_confirmed() {
    let site = site(80, TWO_ROIS, "min_baseline_volumes = 4");
    let kept = Kept::new(&site, "blanked");
    let daemon = kept.start(&[""; 0]);
    let watch = daemon.watch();
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..20]);
    assert_eq!(daemon.command("blank")["ok"], true);
    let last = daemon.query("last/feedback");
    assert!(last["score"].is_null() && last["own"].is_null(), "{last}");
    talk.send_volumes(&run, &volumes[20..60]);
    wait_for("the volume", || (daemon.query("last/volume")["index"] == 59).then_some(()));
    assert_eq!(daemon.command("unblank")["ok"], true);
    talk.send_volumes(&run, &volumes[60..]);
    let mut heard: BTreeMap<u64, Value> = BTreeMap::new();
    while heard.len() < 80 {
        let (topic, report) = watch.next(PATIENCE).unwrap();
        if topic == "feedback" {
            heard.insert(report["index"].as_u64().unwrap(), report);
        }
    }
    for report in heard.range(20..60).map(|(_, report)| report) {
        assert!(report["score"].is_null() && report["own"].is_null(), "{report}");
        assert!(report["blanked"] == true && report["state"] == "blank", "{report}");
    }
    assert!(heard.range(60..).any(|(_, report)| report["own"]["raw"].is_number()));
    talk.end_run(&run, 80);
    assert_eq!(daemon.stop().code, Some(0));
    // The recording keeps the own scores, and says that they were not shown.
    let recorded = published(&kept.recording(), "feedback");
    assert!(recorded[30]["blanked"] == true && recorded[30]["own"]["raw"].is_number());
    let shown: Vec<_> = recorded.iter().filter(|r| r["blanked"] == false).map(score_of).collect();
    let heard: Vec<_> = heard.values().filter(|r| r["blanked"] == false).map(score_of).collect();
    assert_eq!(shown, heard);
}

#[test]
fn a_session_goes_on_with_the_same_feedback_only() {
    let site = site(40, TWO_ROIS, "");
    let kept = Kept::new(&site, "kept");
    drop(scores(&site, &kept));
    let mut flags = vec!["run".to_owned(), "--config".to_owned()];
    flags.push(site.config().display().to_string());
    flags.extend(kept.flags());
    with_feedback(&site, TWO_ROIS, "smoothing_s = 2.0", "");
    drop(corticast(&site, &flags).expect(1, &["another [feedback]: smoothing_s = 0.0, now 2.0"]));
    with_feedback(&site, TWO_ROIS, "", "[quality]\non_spike = \"hold_feedback\"\n");
    drop(corticast(&site, &flags).expect(1, &["another [feedback]: quality", "hold_feedback"]));
    with_feedback(&site, TWO_ROIS, "", "");
    let design = site.path("design.tsv");
    let rows = std::fs::read_to_string(&design).unwrap();
    std::fs::write(&design, rows.replacen("0\t6\tbaseline", "0\t5\tbaseline", 1)).unwrap();
    drop(corticast(&site, &flags).expect(1, &["another [feedback]: design_sha256"]));
    std::fs::write(&design, rows).unwrap();
    std::fs::copy(site.path("roi-cat.nii.gz"), site.path("roi-face.nii.gz")).unwrap();
    drop(corticast(&site, &flags).expect(1, &["another [", "roi_face"]));
}

#[test]
fn check_says_what_the_feedback_is() {
    let site = site(120, TWO_ROIS, "");
    let checked = corticast(&site, ["check", "--config", site.config().to_str().unwrap()]);
    let words = [
        "feedback: percent signal change of `face` minus that of `house`, continuous",
        "feedback: baseline: ",
        "feedback: regulate: ",
        "feedback: region `face`: ",
        "% in the mask",
        "ok: configuration, mask and model agree",
    ];
    drop(checked.expect(0, &words));
}

#[test]
fn the_daemon_runs_without_a_model() {
    let site = site(60, TWO_ROIS, "");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("dir = \"model\"", "")).unwrap();
    let kept = Kept::new(&site, "regions");
    assert_eq!(scores(&site, &kept).len(), 60);
}
