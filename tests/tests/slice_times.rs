//! Slice times that the adapter states are those of the scan's slices, whatever the voxel order of
//! scan and mask: what is decoded is the same as with times from the configuration.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Axes, Daemon, Finished, Site, adapter, corticast, results, turn_file};
use serde_json::Value;

/// Seconds, one for each of the six slices along z.
const TIMES: &str = "[0.0, 0.5, 0.1, 0.6, 0.2, 0.7]";

/// LPS as a scanner sends, and one that swaps all axes.
const ORDERS: [Axes; 2] = [[(0, true), (1, true), (2, false)], [(2, true), (0, false), (1, true)]];

/// A site whose model was trained with slice timing, with this line of its settings.
fn site(setting: &str) -> Site {
    let site = Site::new(30);
    let stages: toml::Table = format!("[slice_timing]\n{setting}\n").parse().unwrap();
    site.edit_manifest(|manifest| drop(manifest.insert("stages".into(), stages.into())));
    site
}

/// Writes the sidecar of the scan.
fn state(site: &Site, times: &str, direction: &str) {
    let sidecar = format!(
        r#"{{"RepetitionTime": 1.0, "SliceTiming": {times}, "SliceEncodingDirection": "{direction}"}}"#
    );
    std::fs::write(site.path("sub-demo_task-shapes_run-1_bold.json"), sidecar).unwrap();
}

fn replay(site: &Site) -> Finished {
    let (config, bold, out) = (site.config(), site.bold(), site.path("replayed.jsonl"));
    let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
    let more = [bold.to_str().unwrap(), "--overwrite", "--results", out.to_str().unwrap()];
    corticast(site, [&arguments[..], &more].concat())
}

fn replayed(site: &Site) -> Vec<Value> {
    drop(replay(site).expect(0, &[]));
    results(&site.path("replayed.jsonl"))
}

#[test]
fn the_adapters_times_follow_the_voxels_into_the_masks_order() {
    let expected = replayed(&site(&format!("times_s = {TIMES}")));
    assert!(expected.len() > 10, "{} results", expected.len());
    let as_acquired = replayed(&Site::new(30));
    assert_ne!(expected, as_acquired, "slice timing changes the signal");

    let of_adapter = site("from = \"adapter\"");
    state(&of_adapter, TIMES, "k");
    assert_eq!(replayed(&of_adapter), expected, "in one order");
    // The scan's first axis is the mask's third, from the other end.
    for (scan, mask, direction) in [(0, 1, "k"), (1, 0, "i-")] {
        let site = site("from = \"adapter\"");
        turn_file(&site.bold(), ORDERS[scan]);
        turn_file(&site.path("four.nii.gz"), ORDERS[mask]);
        state(&site, TIMES, direction);
        assert_eq!(replayed(&site), expected, "scan {scan}, mask {mask}");
    }
}

#[test]
fn a_live_run_brings_its_times_and_prepare_writes_that_it_did() {
    let site = site("from = \"adapter\"");
    turn_file(&site.bold(), ORDERS[1]);
    state(&site, TIMES, "i-");
    let expected = replayed(&site);
    let (mcap, live) = (site.path("live.mcap"), site.path("live.jsonl"));
    let record = ["--record", mcap.to_str().unwrap(), "--results", live.to_str().unwrap()];
    let daemon = Daemon::start(&site, &record);
    let flags = ["nifti", site.bold().to_str().unwrap(), "--speed", "0"].map(str::to_owned);
    drop(adapter(&site, daemon.endpoint("adapter"), &flags).finish().expect(0, &[]));
    daemon.wait_for_end_of_run();
    let words = ["slice times are the adapter's: 6 slices along x of the scan"];
    drop(daemon.stop().expect(0, &words));
    assert_eq!(results(&live), expected);

    // An empty section asks for the adapter's times.
    site.configure("[slice_timing]");
    site.leave_out_model();
    let (config, bold, out) = (site.config(), site.bold(), site.path("prepared"));
    let arguments = ["prepare", "--config", config.to_str().unwrap(), "--run"];
    let more = [bold.to_str().unwrap(), "--out", out.to_str().unwrap()];
    drop(corticast(&site, [&arguments[..], &more].concat()).expect(0, &[]));
    let facts = out.join(site.run_name()).join("prepared.toml");
    let facts: toml::Table = std::fs::read_to_string(facts).unwrap().parse().unwrap();
    assert_eq!(facts["stages"]["slice_timing"]["from"].as_str(), Some("adapter"));
}

#[test]
fn a_run_that_states_no_times_is_refused_if_they_are_asked_for() {
    let site = site("from = \"adapter\"");
    drop(replay(&site).expect(1, &["[slice_timing]", "states no slice times"]));
    // Too few for the six slices: they are not sent.
    state(&site, "[0.0, 0.5, 0.1]", "k");
    drop(
        replay(&site).expect(1, &["3 times that do not fit the 6 slices", "states no slice times"]),
    );
    // The last one at the TR, in s.
    state(&site, "[0.0, 0.5, 0.1, 0.6, 0.2, 1.0]", "k");
    drop(replay(&site).expect(1, &["time of slice 5 is 1 s", "less than the TR"]));
    // Two who state them.
    site.configure(&format!("[slice_timing]\nfrom = \"adapter\"\ntimes_s = {TIMES}\n"));
    let checked = corticast(&site, ["check", "--config", site.config().to_str().unwrap()]);
    drop(checked.expect(78, &["[slice_timing] needs one of"]));
}
