//! The daemon's HTTP interface for Prometheus and orchestrators.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use corticast_tests::{Daemon, Site, http_get, not_run, repository};

fn has_promtool(test: &str) -> bool {
    let found =
        Command::new("promtool").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        not_run(test, "promtool is not installed (`make deps`, Debian package prometheus)");
    }
    found
}

/// The metrics of a daemon after a run with faults.
fn metrics() -> String {
    let site = Site::new(40);
    let recording = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", recording.to_str().unwrap()]);
    assert_eq!(daemon.scan(&site, &["--drop", "20", "--duplicate", "25"]).code, Some(0));
    daemon.wait_for_end_of_run();
    daemon.metrics().0
}

#[test]
fn health_and_readiness_are_told_apart() {
    let site = Site::new(20);
    let daemon = Daemon::start(&site, &[]);
    let http = daemon.endpoint("http");
    assert_eq!(http_get(http, "/healthz").0, 200);
    assert_eq!(http_get(http, "/readyz").0, 200);
    assert_eq!(http_get(http, "/metrics").0, 200);
    assert_eq!(http_get(http, "/etc/passwd").0, 404);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_run_is_counted_under_the_names_that_dashboards_use() {
    let metrics = metrics();
    for line in [
        "corticast_volumes_received_total 39",
        "corticast_volumes_missing_total 1",
        "corticast_recording_errors_total 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in {metrics}");
    }
    for name in [
        "corticast_volumes_duplicate_total",
        "corticast_stage_duration_seconds_bucket{stage=\"spatial_mask\"",
        "corticast_stage_duration_seconds_bucket{stage=\"normalise\"",
        "corticast_stage_duration_seconds_bucket{stage=\"hemodynamic_shift\"",
        "corticast_stage_duration_seconds_bucket{stage=\"decoder\"",
        "corticast_feedback_latency_seconds_count",
        "corticast_signal_path_load_ratio",
        "corticast_model_info{",
        "corticast_recording_bytes_total",
    ] {
        assert!(metrics.lines().any(|l| l.starts_with(name)), "{name} is not in {metrics}");
    }
}

#[test]
fn promtool_accepts_the_metrics() {
    if !has_promtool("promtool_accepts_the_metrics") {
        return;
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics().as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr) + String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.trim().is_empty(), "{said}");
}

/// Alerts must use existing metrics, because an alert on a misspelt name never fires.
#[test]
fn promtool_accepts_the_alerts_and_their_metrics_exist() {
    let rules = repository("configs/prometheus/alerts.yml");
    let metrics = metrics();
    let text = std::fs::read_to_string(&rules).unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for name in text.split(|c| !is_word(c)).filter(|word| word.starts_with("corticast_")) {
        assert!(metrics.contains(name), "{name} is not a metric of the daemon");
    }
    if has_promtool("promtool_accepts_the_alerts_and_their_metrics_exist") {
        let tests = repository("configs/prometheus/alerts_test.yml");
        for arguments in [["check", "rules"], ["test", "rules"]] {
            let file = if arguments[0] == "check" { &rules } else { &tests };
            let checked = Command::new("promtool").args(arguments).arg(file).output().unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
    }
}
