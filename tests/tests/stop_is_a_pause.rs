//! A daemon that is stopped, by whatever signal, is continued as one that was killed: the same run,
//! the next index, the same results. Only an operator's `abort` ends a run for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{
    Daemon, Kept, Process, Site, adapter, counts, http_get, own_address, published, wait_for,
};
use corticast_wire::message::FromAdapter;
use rustix::process::Signal;
use serde_json::Value;

const VOLUMES: u32 = 120;

const NONE: [&str; 0] = [];

fn scanner(site: &Site, daemon: &Daemon) -> Process {
    let speed = ["--speed", "40"].map(str::to_owned);
    let flags: Vec<String> = site.scan_flags().into_iter().chain(speed).collect();
    adapter(site, daemon.endpoint("adapter"), &flags)
}

/// Disturbs a session three times and checks that nothing of it shows.
fn is_continued_after(signal: Signal, site: &Site, expected: &[Value], name: &str) {
    let session = Kept::new(site, name);
    let mut daemon = session.start(&own_address());
    let endpoints = daemon.same_endpoints();
    let scanner = scanner(site, &daemon);
    for n in [10, 40, 80] {
        session.wait_for_results(n);
        daemon.process.signal(signal);
        let ended = daemon.process.finish();
        if signal == Signal::KILL {
            assert_eq!(ended.code, None);
        } else {
            drop(ended.expect(0, &["stopping", "stays open", "stopped"]));
        }
        daemon = session.start(&endpoints);
        let log = daemon.process.log();
        assert!(log.contains(&format!("open_run=\"{}\"", site.run_name())), "{log}");
    }
    drop(scanner.finish().expect(0, &[]));
    drop(daemon.stop().expect(0, &[]));
    session.check_complete(expected, VOLUMES, 1);
    let reports = published(&session.recording(), "run");
    assert!(reports.iter().all(|report| report["run"] == site.run_name()), "{reports:?}");
    let ends = reports.iter().filter(|report| report["state"] == "ended");
    let ends: Vec<_> = ends.map(counts).collect();
    let n_volume = u64::from(VOLUMES);
    assert_eq!(ends, [[n_volume, 0, 0, 0, expected.len() as u64]], "ended once, nothing missing");
    assert_eq!(session.replayed().0, expected);
}

#[test]
fn signals_and_kills_are_continued_in_the_same_way() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
        is_continued_after(signal, &site, &expected, &format!("signal-{}", signal.as_raw()));
    }
}

#[test]
fn a_session_with_networks_and_clips_is_continued_too() {
    let site = Site::new(VOLUMES);
    site.use_model("neurons-tiny");
    let expected = Kept::undisturbed(&site);
    for signal in [Signal::TERM, Signal::KILL] {
        is_continued_after(signal, &site, &expected, &format!("signal-{}", signal.as_raw()));
    }
}

/// Sends volumes to a daemon whose signal thread hangs, and waits until all are acknowledged.
fn behind(site: &Site, daemon: &Daemon, n: usize) -> String {
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..n]);
    run
}

fn wait_for_log(process: &Process, words: &str) {
    wait_for(words, || process.log().contains(words).then_some(()));
}

#[test]
fn a_daemon_that_is_stopping_says_so_and_a_second_signal_ends_it_at_once() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::HUP, Signal::INT)] {
        let session = Kept::new(&site, &format!("twice-{}", first.as_raw()));
        let daemon = session.start_failing("hold:signal:5", &NONE);
        behind(&site, &daemon, 10);
        assert_eq!(http_get(daemon.endpoint("http"), "/readyz").0, 200);
        daemon.process.signal(first);
        wait_for_log(&daemon.process, "a second signal ends the daemon at once");
        // The signal thread hangs, so the daemon is still there to be asked.
        wait_for("`not ready`", || {
            (http_get(daemon.endpoint("http"), "/readyz").0 == 503).then_some(())
        });
        daemon.process.signal(second);
        drop(daemon.process.finish().expect(1, &["again: ending at once"]));

        let daemon = session.start(&NONE);
        drop(daemon.scan(&site, &[]).expect(0, &[]));
        drop(daemon.stop().expect(0, &[]));
        session.check_complete(&expected, VOLUMES, 1);
    }
}

#[test]
fn a_thread_that_hangs_does_not_keep_the_daemon_from_ending() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    let session = Kept::new(&site, "hangs");
    let daemon = session.start_failing("hold:signal:5", &NONE);
    behind(&site, &daemon, 10);
    daemon.process.signal(Signal::TERM);
    let ended = daemon.process.finish();
    drop(ended.expect(1, &["still running: decoding", "decoding did not end within"]));
    let daemon = session.start(&NONE);
    drop(daemon.scan(&site, &[]).expect(0, &[]));
    drop(daemon.stop().expect(0, &[]));
    session.check_complete(&expected, VOLUMES, 1);
}

#[test]
fn volumes_that_were_not_decoded_in_time_are_decoded_after_the_restart() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    let session = Kept::new(&site, "slow");
    let daemon = session.start_failing("sleep:signal:1000", &NONE);
    behind(&site, &daemon, 30);
    drop(daemon.stop().expect(0, &["a restart with the same recording decodes them"]));
    let n_before = session.results().len();
    assert!(n_before < 20, "{n_before} results");
    let daemon = session.start(&NONE);
    drop(daemon.scan(&site, &[]).expect(0, &[]));
    drop(daemon.stop().expect(0, &[]));
    session.check_complete(&expected, VOLUMES, 1);
}

#[test]
fn an_operator_who_aborts_ends_the_run_for_good() {
    let site = Site::new(VOLUMES);
    let session = Kept::new(&site, "aborted");
    let daemon = session.start(&NONE);
    behind(&site, &daemon, 60);
    assert_eq!(daemon.command("abort")["ok"], true);
    drop(daemon.process.finish().expect(0, &["stopped"]));
    let last = published(&session.recording(), "run").pop().unwrap();
    assert_eq!((&last["state"], &last["run"]), (&"ended".into(), &site.run_name().into()));

    let daemon = session.start(&NONE);
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header: header.clone(), resume: true });
    assert!(talk.refusal().contains("the operator ended this run"));
    // Scanned again, it is a run of its own.
    let run = talk.start_run(&header).run;
    assert_eq!(run, format!("{}+2", site.run_name()));
    talk.send_volumes(&run, &volumes[..5]);
    assert_eq!(daemon.stop().code, Some(0));
}
