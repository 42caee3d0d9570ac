//! A restart admits what was recorded, however little room the disk has by now. New runs still have
//! to fit, and the check counts only what is still to come.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Kept, Site, adapter, own_address, wait_for};
use corticast_wire::message::FromAdapter;

const VOLUMES: u32 = 120;

/// Runs of a session that does not fit [`LITTLE`].
const RUNS: [&str; 2] = ["--set", "session.expected_runs=20"];

/// Free bytes that hold a few of these runs beside the reserve of 256 MiB, but not all of them.
const LITTLE: u64 = (256 << 20) + 1_000_000;
/// Free bytes that hold nothing.
const NOTHING: u64 = 1;

fn flags(more: &[String]) -> Vec<String> {
    more.iter().cloned().chain(RUNS.map(str::to_owned)).collect()
}

#[test]
fn a_killed_daemon_takes_its_run_up_on_a_disk_without_room() {
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    for free in [LITTLE, NOTHING] {
        let session = Kept::new(&site, &format!("free{free}"));
        let daemon = session.start(&flags(&own_address()));
        let endpoints = daemon.same_endpoints();
        let speed = ["--speed", "40"].map(str::to_owned);
        let scan: Vec<String> = site.scan_flags().into_iter().chain(speed).collect();
        let scanner = adapter(&site, daemon.endpoint("adapter"), &scan);
        session.wait_for_results(20);
        daemon.process.kill();

        let full = format!("free_bytes:{free}");
        let daemon = session.start_failing(&full, &flags(&endpoints));
        session.wait_for_results(60);
        daemon.process.kill();
        let daemon = session.start_failing(&full, &flags(&endpoints));
        drop(scanner.finish().expect(0, &[]));

        // A further run does not fit, and says so.
        let (mut header, _) = site.acquire();
        "another".clone_into(&mut header.series_id);
        let talk = daemon.talk();
        talk.say(&FromAdapter::Run { header, resume: false });
        let reason = talk.refusal();
        assert!(reason.contains("GB free"), "{reason}");
        drop(daemon.stop().expect(0, &[]));
        session.check_complete(&expected, VOLUMES, 1);
    }
}

#[test]
fn a_new_session_that_does_not_fit_is_refused_and_its_last_runs_are_not() {
    let site = Site::new(VOLUMES);
    let (header, _) = site.acquire();
    let numbered = |number: u32| {
        let mut header = header.clone();
        header.series_id = format!("series {number}");
        header
    };
    let session = Kept::new(&site, "new");
    let little = format!("free_bytes:{LITTLE}");
    let daemon = session.start_failing(&little, &RUNS);
    let talk = daemon.talk();
    talk.say(&FromAdapter::Run { header: numbered(0), resume: false });
    let reason = talk.refusal();
    assert!(reason.contains("GB free"), "{reason}");
    assert_eq!(daemon.stop().code, Some(0));

    // All but two of the runs, while there was room.
    let daemon = session.start(&RUNS);
    let talk = daemon.talk();
    for number in 0..18 {
        let run = talk.start_run(&numbered(number)).run;
        talk.end_run(&run, 0);
    }
    wait_for("the last run", || {
        let state = daemon.query("state");
        (state["state"] == "ended" && state["run"].as_str()?.ends_with("+18")).then_some(())
    });
    daemon.process.kill();
    // What is recorded does not count, nor does a run that is asked for twice.
    let daemon = session.start_failing(&little, &RUNS);
    let talk = daemon.talk();
    for number in 18..20 {
        let run = talk.start_run(&numbered(number)).run;
        assert_eq!(run, format!("{}+{}", site.run_name(), number + 1));
        talk.end_run(&run, 0);
    }
    drop(daemon);
}
