//! The signal path never waits for the generator.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Metrics, Site, results};

#[test]
fn a_generator_that_takes_an_hour_for_a_clip_delays_no_result() {
    let site = Site::new(300);
    site.use_model("neurons-tiny");
    let n_clip = |metrics: &Metrics| metrics.count("corticast_clips_total");
    let n_superseded = |metrics: &Metrics| metrics.count("corticast_conditions_superseded_total");
    let start = |name: &str, more: &[&str]| {
        let jsonl = site.path(name);
        let daemon =
            Daemon::start(&site, &[&["--results", jsonl.to_str().unwrap()], more].concat());
        (daemon, jsonl)
    };
    let (daemon, jsonl) = start("without.jsonl", &[]);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    let without = results(&jsonl);
    let n_result = without.len() as u64;
    assert!(n_result > 280, "{n_result}");

    let slow = ["--set", "generator.mode=still", "--set", "generator.min_interval_s=3600"];
    let (daemon, jsonl) = start("with.jsonl", &slow);
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    // The generator makes the first clip, and its hour of waiting begins, before the daemon gets
    // further volumes.
    let first = without[0]["index"].as_u64().unwrap() as usize;
    talk.send_volumes(&run, &volumes[..=first]);
    drop(daemon.metrics_when("the first clip", |metrics| n_clip(metrics) == 1));
    talk.send_volumes(&run, &volumes[first + 1..]);
    talk.end_run(&run, 300);
    // The newest conditions wait for the hour to pass. All conditions between them and the first
    // were replaced and counted.
    let metrics = daemon
        .metrics_when("a count of all conditions", |metrics| n_superseded(metrics) + 2 == n_result);
    assert_eq!(n_clip(&metrics), 1);
    // The daemon ends although the generator still has most of an hour to wait.
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(results(&jsonl), without);
}
