//! Whatever decides the results is compared with the recording, on a restart and in a replay.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Site, corticast};

#[test]
fn a_restart_is_refused_and_a_replay_warns_when_a_setting_differs() {
    let site = Site::new(12);
    let mcap = site.path("session.mcap").display().to_string();
    let daemon = Daemon::start(&site, &["--record", &mcap]);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    let config = site.config().display().to_string();
    for (key, value) in [
        ("resequence_volumes", "3"),
        ("content_duplicates", "keep"),
        ("quality_baseline_volumes", "40"),
        ("discard_volumes", "2"),
    ] {
        let set = format!("signal.{key}={value}");
        let common = ["--config", &config, "--set", &set];
        let restart = corticast(&site, [&["run", "--record", &mcap][..], &common].concat());
        drop(restart.expect(1, &["session.mcap was recorded with another [signal]", key]));
        let replay = corticast(&site, [&["replay", "--run", &mcap][..], &common].concat());
        drop(replay.expect(0, &["session.mcap was recorded with another [signal]", key]));
    }
    let replay = corticast(&site, ["replay", "--run", &mcap, "--config", &config]);
    assert!(!replay.expect(0, &[]).log.contains("was recorded with"));
}
