//! The report of a run is made from the recording alone: the one that the daemon writes at the end of
//! a run and the one of `corticast report` are equal to the bit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeMap, fs, path::Path};

use corticast_tests::{Daemon, Site, corticast, published, wait_for};
use serde_json::{Value, json};

/// Names and bytes of the files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let read = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    read.collect()
}

/// Records a run of the site's scan, and waits for the report of the daemon if `live` is a folder.
fn record(site: &Site, mcap: &Path, live: &Path, fault: &str) -> i32 {
    let flags = ["--record", mcap.to_str().unwrap()].map(str::to_owned);
    let report = ["--set".to_owned(), format!("outputs.report={}", live.display())];
    let flags: Vec<&str> = flags.iter().chain(&report).map(String::as_str).collect();
    let script = format!("export CORTICAST_FAULT={fault}; exec \"$0\" \"$@\"");
    let daemon = Daemon::started(site, &script, &flags);
    assert_eq!(daemon.scan(site, &[]).code, Some(0));
    daemon.wait_for_end_of_run();
    if fault == "none" {
        // Without reading: a file that is being written changes its name.
        let n_file = || fs::read_dir(live).map_or(0, Iterator::count);
        wait_for("the report", || (n_file() == 2).then_some(()));
    }
    let ended = daemon.stop();
    assert_eq!(ended.log.contains("no report: "), fault != "none", "{}", ended.log);
    ended.code.unwrap()
}

#[test]
fn the_report_of_the_daemon_is_made_again_to_the_bit() {
    let site = Site::new(30);
    let (mcap, live, again) = (site.path("a.mcap"), site.path("live"), site.path("again"));
    assert_eq!(record(&site, &mcap, &live, "none"), 0);

    let command = ["report", "a.mcap", "--out", "again"];
    let printed = corticast(&site, command).expect(0, &[]).output;
    assert!(printed.contains("30 of 30 volumes, none lost"), "{printed}");
    let made = files(&again);
    assert_eq!(made.len(), 2);
    assert!(made == files(&live), "the same bytes");
    // Once more: the files are the same, so nothing is overwritten.
    drop(corticast(&site, command).expect(0, &[]));
    drop(
        corticast(&site, ["report", "a.mcap", "--out", "again", "--run", "sub-9"])
            .expect(1, &["no run `sub-9`"]),
    );

    let (name, document) = made.iter().find(|(name, _)| name.ends_with(".json")).unwrap();
    let document: Value = serde_json::from_slice(document).unwrap();
    let run = document["run"]["name"].as_str().unwrap();
    assert_eq!(*name, format!("{run}_report.json"));
    let n_result = published(&mcap, "concepts").len();
    assert_eq!(document["decoding"]["n_results"], json!(n_result));
    assert_eq!(document["timing"]["received_to_published_ms"]["n"], json!(n_result));
    assert_eq!(document["acquisition"]["matrix"], json!([8, 8, 6]));
    assert_eq!(document["acquisition"]["repetition_time_s"], json!(1.0));
    assert_eq!(document["missing_data"]["n_used"], json!(30));
    assert_eq!(document["quality"]["volumes"]["index"], json!((0..30).collect::<Vec<u32>>()));
    assert_eq!(document["quality"]["summary"]["tsnr_n_volume"], json!(30));
    let shift = document["preprocessing"].as_array().unwrap().iter();
    let shift = shift.clone().find(|stage| stage["stage"] == "hemodynamic_shift").unwrap();
    assert_eq!(shift["parameters"]["hrf_delay_s"], json!(4.25));

    let page = String::from_utf8(made[&format!("{run}_report.html")].clone()).unwrap();
    assert!(!page.contains("://") && !page.contains("<script"), "nothing from outside");
    for (at, _) in page.match_indices("src=\"").chain(page.match_indices("href=\"")) {
        assert!(page[at..].split('"').nth(1).unwrap().starts_with("data:image/png;base64,"));
    }
    // A file with other contents is kept, unless it is to be replaced.
    fs::write(again.join(format!("{run}_report.html")), "mine").unwrap();
    drop(corticast(&site, command).expect(1, &["exists; choose another folder"]));
    let replaced = command.into_iter().chain(["--overwrite"]);
    drop(corticast(&site, replaced).expect(0, &[]));
    assert!(made == files(&again));
}

#[test]
fn a_report_that_panics_ends_nothing() {
    let site = Site::new(20);
    let (mcap, live) = (site.path("a.mcap"), site.path("live"));
    assert_eq!(record(&site, &mcap, &live, "panic:report:1"), 0);
    assert_eq!(files(&live).len(), 0);
    drop(corticast(&site, ["report", "a.mcap", "--out", "live"]).expect(0, &[]));
    assert_eq!(files(&live).len(), 2);
}

#[test]
fn a_report_needs_a_recording() {
    let site = Site::new(5);
    let config = site.config();
    let command = ["run", "--config", config.to_str().unwrap(), "--set", "outputs.report=r"];
    drop(corticast(&site, command).expect(78, &["needs a recording"]));
}
