//! The signal path never waits for the generator.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Site, http_get, results, wait_for};

/// A counter of `/metrics`.
fn counter(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_generator_that_takes_an_hour_for_a_clip_delays_no_result() {
    let site = Site::new(300);
    site.use_model("neurons-tiny");
    let decode = |name: &str, more: &[&str], look: &dyn Fn(&Daemon)| {
        let jsonl = site.path(name);
        let mut arguments = vec!["--results", jsonl.to_str().unwrap()];
        arguments.extend(more);
        let daemon = Daemon::start(&site, &arguments);
        assert_eq!(daemon.scan(&site, &[]).code, Some(0));
        look(&daemon);
        // The daemon ends although the generator has only begun to wait.
        assert_eq!(daemon.stop().code, Some(0));
        results(&jsonl)
    };
    let without = decode("without.jsonl", &[], &|_| {});
    let n_result = without.len() as u64;
    assert!(n_result > 280, "{n_result}");
    let slow = ["--set", "generator.mode=still", "--set", "generator.min_interval_s=3600"];
    let with = decode("with.jsonl", &slow, &|daemon| {
        // The first clip is made and the hour begins; one set of conditions waits, and the others
        // are replaced and counted.
        wait_for("a count of all conditions", || {
            let (_, metrics) = http_get(daemon.endpoint("http"), "/metrics");
            let superseded = counter(&metrics, "corticast_conditions_superseded_total");
            let is_whole =
                counter(&metrics, "corticast_clips_total") == 1 && superseded + 2 == n_result;
            is_whole.then_some(())
        });
    });
    assert_eq!(with, without);
}
