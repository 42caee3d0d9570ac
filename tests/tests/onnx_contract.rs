//! A session whose model, mask, scan and configuration do not match does not start. The error
//! names the mismatch, with what was found and what was expected.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;

use corticast_tests::{Daemon, Finished, Site, adapter, corticast, repository, results};
use toml::Value;

fn checked(site: &Site) -> Finished {
    let config = site.config();
    let check = corticast(site, ["check", "--config", config.to_str().unwrap()]);
    // The daemon reports the same error.
    let run = corticast(site, ["run", "--config", config.to_str().unwrap()]);
    assert_eq!(run.code, check.code, "{}", run.log);
    let error = |log: &str| log.find("error: ").map(|at| log[at..].to_owned());
    assert_eq!(error(&run.log), error(&check.log));
    check
}

fn set(
    section: &'static str,
    key: &'static str,
    value: impl Into<Value>,
) -> impl FnOnce(&mut toml::Table) {
    let value = value.into();
    move |manifest: &mut toml::Table| {
        let section = manifest[section].as_table_mut().unwrap();
        section.insert(key.to_owned(), value);
    }
}

fn network(manifest: &mut toml::Table) -> &mut toml::Table {
    manifest["network"].as_array_mut().unwrap()[0].as_table_mut().unwrap()
}

/// Puts another network of `tests/data/models` into the site's model, with the correct hash.
fn put_network(site: &Site, other: &str) {
    let folder = repository("tests/data/models").join(other);
    fs::copy(folder.join("decoder.onnx"), site.path("model/decoder.onnx")).unwrap();
    let text = fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let mut theirs: toml::Table = text.parse().unwrap();
    let sha256 = network(&mut theirs)["sha256"].clone();
    site.edit_manifest(|manifest| drop(network(manifest).insert("sha256".into(), sha256)));
}

#[test]
fn a_model_that_was_trained_on_something_else_does_not_start() {
    let site = Site::new(20);
    let mask = corticast::plan::mask_file::read(&site.path("four.nii.gz")).unwrap().mask;
    let other = "0".repeat(64);
    site.edit_manifest(set("mask", "hash", other.clone()));
    drop(checked(&site).expect(78, &["mask", mask.hash(), &other]));

    let site = Site::new(20);
    site.edit_manifest(set("mask", "matrix", vec![8_i64, 8, 7]));
    drop(checked(&site).expect(78, &["[8, 8, 6]", "[8, 8, 7]"]));

    let site = Site::new(20);
    site.edit_manifest(set("signal", "hrf_delay_s", 5.5));
    drop(checked(&site).expect(78, &["`hrf_delay_s`", "5.5 s", "4.25 s"]));

    let site = Site::new(20);
    site.edit_manifest(set("normalise", "warm_up_volumes", 9));
    drop(checked(&site).expect(78, &["`warm_up_volumes`", "with 9", "has 3"]));

    let site = Site::new(20);
    site.edit_manifest(|manifest| drop(manifest.insert("format".into(), 3.into())));
    drop(checked(&site).expect(78, &["manifest.toml", "format"]));
}

#[test]
fn a_network_that_is_missing_damaged_or_another_does_not_start() {
    let site = Site::new(20);
    let onnx = site.path("model/decoder.onnx");
    let whole = fs::read(&onnx).unwrap();
    fs::remove_file(&onnx).unwrap();
    drop(checked(&site).expect(78, &["decoder.onnx", "No such file"]));

    let mut damaged = whole;
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&onnx, damaged).unwrap();
    drop(checked(&site).expect(78, &["decoder.onnx", "046e58749e83c3eb"]));

    put_network(&site, "wrong-shape");
    drop(checked(&site).expect(78, &["(1, 1, 5)", "[1, 1, 4]"]));

    fs::remove_dir_all(site.path("model")).unwrap();
    drop(checked(&site).expect(78, &["manifest.toml", "No such file"]));
}

#[test]
fn an_unknown_key_is_refused_with_line_and_column() {
    let site = Site::new(20);
    site.configure("hrf_delay_ms = 4000");
    let line = fs::read_to_string(site.config()).unwrap();
    let line = 1 + line.lines().position(|line| line.starts_with("hrf_delay_ms")).unwrap();
    let place = format!("line {line}, column 1");
    drop(checked(&site).expect(78, &["site.toml", &place, "hrf_delay_ms", "hrf_delay_s"]));

    site.configure("max_fill_volumes = 200");
    drop(checked(&site).expect(78, &["max_fill_volumes", "at most 16", "200"]));

    fs::remove_file(site.config()).unwrap();
    drop(checked(&site).expect(78, &["site.toml", "No such file"]));
    assert_eq!(corticast(&site, ["run"]).code, Some(2));
}

#[test]
fn a_scan_that_does_not_fit_the_model_is_refused() {
    let site = Site::new(20);
    let daemon = Daemon::start(&site, &[]);
    for (flags, words) in [
        ("synthetic --volumes 20 --speed 0 --matrix 8x8x6 --tr 2", ["2 s", "1 s"]),
        ("synthetic --volumes 20 --speed 0 --matrix 8x8x7", ["[8, 8, 7]", "[8, 8, 6]"]),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        drop(adapter(&site, daemon.endpoint("adapter"), &flags).finish().expect(1, &words));
    }
    // The daemon then accepts a scan that matches.
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_network_that_gives_no_probabilities_costs_results_and_not_the_run() {
    for other in ["nan", "no-softmax"] {
        let site = Site::new(20);
        put_network(&site, other);
        let jsonl = site.path("results.jsonl");
        let daemon = Daemon::start(&site, &["--results", jsonl.to_str().unwrap()]);
        assert_eq!(daemon.scan(&site, &[]).code, Some(0), "{other}");
        drop(daemon.stop().expect(3, &["WARN", "probabilit"]));
        assert!(results(&jsonl).is_empty(), "{other}");
    }
}

#[test]
fn an_endpoint_that_is_in_use_is_named() {
    let site = Site::new(20);
    let daemon = Daemon::start(&site, &[]);
    let config = site.config();
    for key in ["adapter", "publish", "query", "control", "http"] {
        let endpoint = daemon.endpoint(key).trim_start_matches("http://");
        let set = format!("wire.{key}={endpoint}");
        let second = corticast(&site, ["run", "--config", config.to_str().unwrap(), "--set", &set]);
        drop(second.expect(1, &[endpoint, "in use"]));
    }
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
}
