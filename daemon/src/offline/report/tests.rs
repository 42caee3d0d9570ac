use std::path::PathBuf;

use corticast_wire::message::{End, FromAdapter, TriggerCounts};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::recording::fixture::{self, AGAIN, Line, RUN};

fn json_line(topic: &'static str, value: Value) -> Line {
    Line::Json(topic, value.to_string())
}

fn run_report(state: &str) -> Line {
    json_line(
        "run",
        json!({
            "run": RUN, "state": state, "repetition_time_s": 1.5, "matrix": [2, 3, 1],
            "source": "test", "n_received": 5, "n_missing": 1, "n_late": 0, "n_dropped": 1,
            "n_time_off": 0, "n_results": 2, "max_dvars": 20.0, "published_ns": 9,
        }),
    )
}

fn volume_report(index: u32, more: Value) -> Line {
    let mut report =
        json!({"run": RUN, "index": index, "acquisition_time_s": 1.5 * f64::from(index)});
    report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json_line("volume", report)
}

fn score(index: u32, block: &str, shown: f64) -> Line {
    json_line(
        "feedback",
        json!({
            "run": RUN, "index": index, "stimulus_time_s": 1.5 * f64::from(index), "block": block,
            "condition": "up", "score": shown, "state": "shown", "blanked": false,
            "is_blind": true, "own": {"score": 0.125},
        }),
    )
}

/// One run with everything that a daemon records; volume 3 is missing.
fn session() -> Vec<Line> {
    let wire = |index, first| Line::Wire(FromAdapter::Volume(fixture::volume(RUN, index, first)));
    let motion = json!({"fd_mm": 0.75, "dvars": 20.0, "is_spike": true, "motion": {
        "trans_x": 0.5, "trans_y": 0.0, "trans_z": -0.25,
        "rot_x": 0.01, "rot_y": 0.0, "rot_z": 0.0,
    }});
    vec![
        json_line(
            "session",
            json!({
                "name": "pilot", "corticast": "0.1.0",
                "effective": {"signal": {"hrf_delay_s": 4.25, "missing": "restart"},
                              "realign": {"reference": "first"}},
                "config": {"quality": {"fd_mm": 0.5},
                           "feedback": {"sham": "/home/jane/sham.toml"}},
                "model": {"name": "m1", "subject": "01", "provider": "CPU", "networks": ["ab"],
                          "fallback_reason": "no /dev/nvidia0"},
            }),
        ),
        Line::Wire(fixture::run("a")),
        run_report("warming_up"),
        Line::Wire(fixture::mark(RUN, 3.0, "house <b>", Some(1.5))),
        wire(0, 0),
        volume_report(0, json!({})),
        wire(1, 40),
        volume_report(1, json!({"fd_mm": 0.25, "dvars": 10.0})),
        Line::Json(
            "concepts",
            json!({"run": RUN, "index": 1, "received_ns": 1_000_000, "published_ns": 3_000_000,
                   "stages_ns": {"ingest": 1_500_000, "decoder": 3_000_000},
                   "made_from": "measured"})
            .to_string(),
        ),
        score(1, "baseline", 0.5),
        wire(2, 10),
        volume_report(2, motion),
        score(2, "regulate", 0.75),
        json_line("status", json!({"level": "warning", "message": "volume 3 is missing"})),
        wire(4, 30),
        volume_report(4, json!({"dropped": "it is <odd>"})),
        json_line("command", json!({"command": "pause"})),
        Line::Wire(FromAdapter::End(End {
            run: RUN.into(),
            n_sent: None,
            triggers: Some(triggers()),
        })),
        run_report("ended"),
        json_line("status", json!({"level": "alarm", "message": "long after the run"})),
    ]
}

fn triggers() -> TriggerCounts {
    TriggerCounts { n: 5, n_missed: 1, jitter_ms: Some(0.5), ..TriggerCounts::default() }
}

fn recorded(lines: &[Line]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mcap");
    fixture::record(&path, lines);
    (folder, path)
}

fn one(lines: &[Line], unblind: bool) -> (Report, Value) {
    let (_folder, path) = recorded(lines);
    let report = make(&path, Wanted::Run(RUN), unblind, &mut || true).unwrap().remove(0);
    let document = serde_json::from_str(&report.document).unwrap();
    (report, document)
}

#[test]
fn the_document_holds_what_was_recorded() {
    let (report, document) = one(&session(), false);
    assert_eq!(report.verdict, "4 of 6 volumes: 1 never arrived, 1 could not be used, 1 spike.");
    assert_eq!(document["verdict"], report.verdict.as_str());
    assert_eq!(document["triggers"]["n_missed"], 1);
    assert!(report.page.contains("jitter, ms</td><td class=\"n\">0.5<"), "{}", report.page);
    let summary = &document["quality"]["summary"];
    assert_eq!(
        summary["fd_mm"],
        json!({"n": 2, "mean": 0.5, "max": 0.75, "max_index": 2, "threshold": 0.5,
               "n_above_threshold": 1})
    );
    assert_eq!(summary["dvars"]["threshold"], Value::Null);
    let volumes = &document["quality"]["volumes"];
    assert_eq!(volumes["index"], json!([0, 1, 2, 4]));
    assert_eq!(volumes["fd_mm"], json!([null, 0.25, 0.75, null]));
    assert_eq!(volumes["rot_x_rad"], json!([null, null, 0.01, null]));
    assert_eq!(volumes["is_spike"], json!([false, false, true, false]));
    let missing = &document["missing_data"];
    assert_eq!(missing["missing_in_recording"], json!([3]));
    assert_eq!(missing["dropped"], json!([{"index": 4, "reason": "it is <odd>"}]));
    assert_eq!(document["acquisition"]["voxel_size_mm"], json!([3.0, 3.0, 4.0]));
    assert_eq!(document["timing"]["received_to_published_ms"]["p99"], json!(2.0));
    let stages = &document["timing"]["stages"];
    assert_eq!(stages[0]["stage"], "ingest");
    assert!((stages[1]["load_of_tr"].as_f64().unwrap() - 1.5e-3 / 1.5).abs() < 1e-12);
    assert_eq!(document["events"][0]["duration_s"], 1.5);
    let notes: Vec<_> =
        document["notes"].as_array().unwrap().iter().map(|note| note["text"].clone()).collect();
    assert_eq!(
        notes,
        ["volume 3 is missing", "pause"],
        "what came after the run is not part of it"
    );
    assert_eq!(document["decoding"]["model"]["fallback_reason"], Value::Null);
    assert!(!report.document.contains("jane"), "no folders");
}

#[test]
fn the_map_of_tsnr_can_be_computed_by_hand() {
    // Voxel v has 0.5 (first + v) + 10 with first = 0, 40, 10, 30 at volumes 0, 1, 2, 4. Their
    // mean is 20; around it the sum of squares is 1000, with the times 40, and of the times 8.75.
    // The line leaves 1000 - 40² / 8.75 = 5720 / 7 with 2 degrees of freedom.
    let (folder, path) = recorded(&session());
    let runs = collect::collect(&path, Wanted::All, &mut || true).unwrap();
    let maps = runs[0].maps.as_ref().unwrap();
    let sd = 0.5 * (2860.0_f64 / 7.0).sqrt();
    for (voxel, found) in maps.tsnr.iter().enumerate() {
        let expected = (20.0 + 0.5 * voxel as f64) / sd;
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
    }
    drop(folder);
}

#[test]
fn the_page_loads_nothing_runs_nothing_and_escapes_everything() {
    let (report, _) = one(&session(), false);
    let page = &report.page;
    for foreign in ["http://", "https://", "<script", "url(h", "src=\"h", "javascript:", "@import"]
    {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for (at, _) in page.match_indices("src=").chain(page.match_indices("href=")) {
        let link = &page[at..];
        assert!(
            link[link.find('"').unwrap() + 1..].starts_with("data:image/png"),
            "{}",
            &link[..40]
        );
    }
    assert!(!page.contains("<odd>") && page.contains("&lt;odd&gt;") && !page.contains("house <b>"));
    let n = |what: &str| page.matches(what).count();
    assert_eq!(n("role=\"img\""), n("<desc "), "each picture can be read out");
    for section in ["Motion", "Carpet", "Feedback", "Latency", "What was done to the data"] {
        assert!(page.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    assert!(!page.contains("Not measured"), "everything was measured");
}

#[test]
fn own_scores_are_sealed_unless_they_are_asked_for() {
    let (sealed, document) = one(&session(), false);
    assert!(!sealed.document.contains("\"own\"") && !sealed.page.contains("own score\n"));
    assert_eq!(document["feedback"]["scores"]["shown"], json!([0.5, 0.75]));
    assert_eq!(document["feedback"]["is_assignment_sealed"], true);
    let (_, document) = one(&session(), true);
    assert_eq!(document["feedback"]["scores"]["own"], json!([0.125, 0.125]));
    assert_eq!(document["feedback"]["blocks"][1]["kind"], "regulate");
}

#[test]
fn what_the_recording_holds_behind_a_run_changes_nothing() {
    let (live, _) = one(&session(), false);
    let mut lines = session();
    lines.extend(fixture::session().into_iter().skip(1));
    let (later, _) = one(&lines, false);
    assert_eq!(live.page, later.page);
    assert_eq!(live.document, later.document);
}

#[test]
fn without_any_report_of_the_daemon_there_is_a_report_of_the_volumes() {
    let lines: Vec<Line> =
        fixture::session().into_iter().filter(|line| matches!(line, Line::Wire(_))).collect();
    let (report, document) = one(&lines, false);
    assert!(!report.has_ended);
    assert_eq!(
        report.verdict,
        "The recording does not hold the end of the run. 4 of 5 volumes: 1 never arrived, no \
         threshold for spikes."
    );
    assert_eq!(document["quality"]["summary"]["tsnr_n_volume"], 4);
    assert!(report.page.contains("Not measured: [realign] is off."));
    let (_folder, path) = recorded(&lines);
    let all = make(&path, Wanted::All, false, &mut || true).unwrap();
    assert_eq!(all.iter().map(|report| report.run.as_str()).collect::<Vec<_>>(), [RUN, AGAIN]);
    let error = make(&path, Wanted::Run("sub-9"), false, &mut || true).unwrap_err().to_string();
    assert!(error.starts_with("no run `sub-9` in the recording; it holds sub-01"), "{error}");
    assert!(matches!(make(&path, Wanted::All, false, &mut || false), Err(ReportError::GivenUp)));
}

#[test]
fn of_a_damaged_recording_the_report_shows_the_rest_and_says_so() {
    let (_folder, path) = recorded(&session());
    let whole = std::fs::read(&path).unwrap();
    let mut n_damaged = 0;
    for at in (whole.len() / 4..whole.len() * 3 / 4).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        std::fs::write(&path, &bytes).unwrap();
        match make(&path, Wanted::All, false, &mut || true) {
            Ok(reports) => {
                let document: Value = serde_json::from_str(&reports[0].document).unwrap();
                n_damaged += usize::from(document["recording"]["is_damaged"] == true);
                assert!(!reports[0].document.contains(&path.display().to_string()));
            }
            Err(error) => assert!(matches!(error, ReportError::NoRun(_)), "{error}"),
        }
    }
    assert!(n_damaged > 5, "{n_damaged}");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = make(&path, Wanted::All, false, &mut || true).unwrap().remove(0);
    let said = "it is still being written, or the daemon was killed";
    assert!(cut.verdict.contains(said), "{}", cut.verdict);
    let document: Value = serde_json::from_str(&cut.document).unwrap();
    assert_eq!(document["recording"]["is_damaged"], false);
    assert_eq!(document["recording"]["cuts"].as_array().unwrap().len(), 1);
}

/// Two files: the first cut by a kill after so many lines, the second by the daemon that went on.
fn continued(mut lines: Vec<Line>, at: usize) -> (TempDir, PathBuf) {
    let mut rest = lines.split_off(at);
    rest.insert(0, json_line("session", json!({"name": "pilot"})));
    let (folder, path) = recorded(&lines);
    let whole = std::fs::read(&path).unwrap();
    // Without its footer, as a kill leaves it.
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    fixture::record(&path, &rest);
    assert!(folder.path().join("a.001.mcap").exists());
    (folder, path)
}

/// The session without its end, with a restart and 18 volumes that were refused after it.
fn with_restart(more: Vec<Line>) -> Report {
    let mut lines = session();
    lines.retain(|line| !matches!(line, Line::Json("run", _)));
    lines.pop();
    let at = lines.len() - 5;
    let refused = (5..23).map(|index| {
        let text =
            format!("the daemon restarted and lacks volumes of `{RUN}` before {index}; send");
        json_line("status", json!({"level": "warning", "message": text}))
    });
    let tail = lines.split_off(at);
    lines.extend(refused.chain(more).chain(tail));
    let (_folder, path) = continued(lines, at);
    make(&path, Wanted::Run(RUN), false, &mut || true).unwrap().remove(0)
}

#[test]
fn a_restart_is_told_calmly_and_only_a_loss_is_red() {
    let is_red = |report: &Report| report.page.contains("class=\"verdict bad\"");
    // Volume 3 never arrived.
    let report = with_restart(vec![]);
    assert!(
        report.verdict.contains("1 restart. The daemon was restarted at"),
        "{}",
        report.verdict
    );
    assert!(is_red(&report) && !report.verdict.contains("nothing was lost"));
    assert!(!report.verdict.contains("damaged") && !report.page.contains("is damaged"));
    assert!(report.page.contains("the recording goes on in the next file"));
    // One line for all of them on the page, each of them in the document.
    assert_eq!(report.page.matches("the daemon restarted and lacks").count(), 2);
    assert!(report.page.contains("(18 times until "), "{}", report.page);
    assert_eq!(report.document.matches("the daemon restarted and lacks").count(), 18);

    let volume = fixture::volume(RUN, 3, 7);
    let report = with_restart(vec![Line::Wire(FromAdapter::Volume(volume))]);
    assert!(report.verdict.ends_with(" s; nothing was lost."), "{}", report.verdict);
    assert!(!is_red(&report), "{}", report.verdict);
}

#[test]
fn feedback_is_drawn_at_the_volume_after_which_it_was_shown() {
    let mut lines = session();
    for line in &mut lines {
        let Line::Json("feedback", text) = line else { continue };
        let mut value: Value = serde_json::from_str(text).unwrap();
        value["acquisition_time_s"] = json!(value["stimulus_time_s"].as_f64().unwrap() + 4.5);
        *text = value.to_string();
    }
    let (_folder, path) = recorded(&lines);
    let runs = collect::collect(&path, Wanted::All, &mut || true).unwrap();
    let times = runs[0].feedback.scores.iter().map(|score| (score.time_s, score.stimulus_time_s));
    assert_eq!(times.collect::<Vec<_>>(), [(6.0, 1.5), (7.5, 3.0)]);
    let blocks: Vec<_> = runs[0].feedback.blocks.iter().map(|block| block.from_s).collect();
    assert_eq!(blocks, [1.5, 3.0], "a block is at its own time");
    let (_, document) = one(&lines, false);
    let scores = &document["feedback"]["scores"];
    assert_eq!(scores["acquisition_time_s"], json!([6.0, 7.5]));
    assert_eq!(scores["stimulus_time_s"], json!([1.5, 3.0]));
}
