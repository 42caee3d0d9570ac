//! Every product carries its stimulus time and every volume its arrival time, and the time stamps
//! of the stages lie between receipt and publication in the order of the signal path. Latency is
//! measured, never estimated. How long the path takes is left to the benchmark.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Site, entries};
use serde_json::Value;

/// The stages in the order of the path.
const STAGES: [&str; 6] =
    ["ingest", "spatial_mask", "gap_fill", "normalise", "hemodynamic_shift", "decoder"];

fn ns(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a time stamp"))
}

#[test]
fn every_result_has_a_time_stamp_of_each_stage() {
    let site = Site::new(40);
    let (recording, results) = (site.path("live.mcap"), site.path("live.jsonl"));
    let arguments =
        ["--record", recording.to_str().unwrap(), "--results", results.to_str().unwrap()];
    let daemon = Daemon::start(&site, &arguments);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));

    let lines = std::fs::read_to_string(&results).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 20, "{} results", lines.len());
    for line in &lines {
        let stamps = [&line["received_ns"]]
            .into_iter()
            .chain(STAGES.iter().map(|stage| &line["stages_ns"][stage]))
            .chain([&line["published_ns"]])
            .map(ns)
            .collect::<Vec<_>>();
        assert!(stamps.is_sorted(), "{stamps:?}");
        assert!(line["stimulus_time_s"].as_f64() <= line["acquisition_time_s"].as_f64(), "{line}");
    }

    let volumes: Vec<Value> = entries(&recording)
        .0
        .iter()
        .filter(|entry| entry.topic == "volume")
        .map(|entry| serde_json::from_slice(&entry.data).unwrap())
        .collect();
    assert_eq!(volumes.len(), 40);
    for volume in volumes {
        assert!(ns(&volume["received_ns"]) <= ns(&volume["published_ns"]), "{volume}");
        assert!(volume["acquisition_time_s"].is_f64() && volume["stimulus_time_s"].is_f64());
    }
}
