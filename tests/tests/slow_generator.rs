//! The signal path never waits for the generator.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Site, http_get, results};

/// A counter of `/metrics`.
fn counter(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_generator_that_takes_an_hour_for_a_clip_costs_no_result() {
    let site = Site::new(300);
    site.use_model("neurons-tiny");
    let decode = |name: &str, more: &[&str]| {
        let jsonl = site.path(name);
        let mut arguments = vec!["--results", jsonl.to_str().unwrap()];
        arguments.extend(more);
        let daemon = Daemon::start(&site, &arguments);
        assert_eq!(daemon.scan(&site, &[]).code, Some(0));
        let (_, metrics) = http_get(daemon.endpoint("http"), "/metrics");
        // It ends although the generator has only begun to wait.
        assert_eq!(daemon.stop().code, Some(0));
        (results(&jsonl), metrics)
    };
    let slow = ["--set", "generator.mode=still", "--set", "generator.min_interval_s=3600"];
    let (without, _) = decode("without.jsonl", &[]);
    let (with, metrics) = decode("with.jsonl", &slow);
    assert!(with.len() > 280);
    assert_eq!(with, without);
    let n_clip = counter(&metrics, "corticast_clips_total");
    let superseded = counter(&metrics, "corticast_conditions_superseded_total");
    assert_eq!(n_clip, 1, "the first is made, then the hour begins");
    // One waits in the mailbox; the rest was replaced and counted.
    assert_eq!(superseded + 1 + n_clip, with.len() as u64, "of {} results", with.len());
}
