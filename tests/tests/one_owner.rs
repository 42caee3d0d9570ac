//! An adapter that connects again leaves no ghost: the open run is owned by the connection that
//! announced it last, and only its silence means something.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Instant;

use corticast_bold::run::RunHeader;
use corticast_tests::{Daemon, Metrics, PATIENCE, Site, Talk};
use corticast_wire::{
    heartbeat::{HEARTBEAT, SILENCE},
    message::{End, FromAdapter, RefusalCode, ToAdapter},
};

const NONE: [&str; 0] = [];

fn silence(metrics: &Metrics) -> f64 {
    metrics.value("corticast_adapter_silence_seconds")
}

/// Sends heartbeats for as long as a silent adapter needs to be noticed, and longer.
fn ping_for_a_while(talk: &Talk) {
    let started = Instant::now();
    while started.elapsed() < SILENCE * 2 {
        talk.say(&FromAdapter::Ping);
        drop(talk.answer_within(HEARTBEAT / 4));
    }
}

fn is_quiet(daemon: &Daemon) {
    let log = daemon.process.log();
    assert!(!log.contains("has been silent"), "{log}");
    let lasted = silence(&daemon.metrics());
    assert!(lasted < SILENCE.as_secs_f64(), "{lasted} s");
}

#[test]
fn a_connection_that_was_replaced_is_not_missed() {
    let site = Site::new(40);
    let daemon = Daemon::start(&site, &NONE);
    let (header, volumes) = site.acquire();
    let first = daemon.talk();
    let run = first.start_run(&header).run;
    first.send_volumes(&run, &volumes[..10]);
    // The same adapter after a lost connection, or after it was started again.
    let second = daemon.talk();
    second.say(&FromAdapter::Run { header: header.clone(), resume: true });
    assert!(matches!(second.answer(), ToAdapter::Ready(ready) if ready.next_index == 10));
    // The first connection says nothing more, and does not close either.
    ping_for_a_while(&second);
    is_quiet(&daemon);
    drop(first);
    second.send_volumes(&run, &volumes[10..20]);
    ping_for_a_while(&second);
    is_quiet(&daemon);
    drop(second);
    // The silence of the owner is still noticed.
    let is_missed = |metrics: &Metrics| silence(metrics) > SILENCE.as_secs_f64();
    drop(daemon.metrics_when("the silence", is_missed));
    corticast_tests::wait_for("the alarm", || {
        daemon.process.log().contains("has been silent").then_some(())
    });
    // A third one takes the run up.
    let third = daemon.talk();
    third.say(&FromAdapter::Run { header, resume: true });
    assert!(matches!(third.answer(), ToAdapter::Ready(ready) if ready.next_index == 20));
    let is_over = |metrics: &Metrics| silence(metrics) < SILENCE.as_secs_f64();
    drop(daemon.metrics_when("its end", is_over));
    third.send_volumes(&run, &volumes[20..]);
    third.end_run(&run, 40);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn an_adapter_that_is_refused_does_not_own_the_run() {
    let site = Site::new(40);
    let daemon = Daemon::start(&site, &NONE);
    let (header, volumes) = site.acquire();
    let owner = daemon.talk();
    let run = owner.start_run(&header).run;
    owner.send_volumes(&run, &volumes[..10]);
    // A scan of another space: an adapter that was connected to the wrong daemon.
    let other = Site::with_matrix(40, "nearest", [10, 8, 6]);
    let (wrong, wrong_volumes) = other.acquire();
    let stranger = daemon.talk();
    stranger.say(&FromAdapter::Run { header: wrong, resume: false });
    assert!(stranger.refusal().contains("grid differs"));
    let volume = wrong_volumes[10].clone().into_message(&run);
    stranger.say(&FromAdapter::Volume(volume));
    let refused = stranger.answer_within(PATIENCE);
    assert!(matches!(refused, Some(ToAdapter::Refused(_))), "{refused:?}");
    // Its silence is not that of the run.
    ping_for_a_while(&owner);
    is_quiet(&daemon);
    // And its heartbeats do not stand for the owner's.
    drop(owner);
    let is_missed = |metrics: &Metrics| silence(metrics) > SILENCE.as_secs_f64();
    corticast_tests::wait_for("the silence of the owner", || {
        stranger.say(&FromAdapter::Ping);
        drop(stranger.answer_within(HEARTBEAT / 4));
        is_missed(&daemon.metrics()).then_some(())
    });
    assert_eq!(daemon.stop().code, Some(0));
}

/// Two adapters at one daemon: the first was left running when the second was started.
#[test]
fn what_an_adapter_says_is_for_the_run_that_it_announced_itself() {
    let site = Site::new(40);
    let daemon = Daemon::start(&site, &NONE);
    let (header, volumes) = site.acquire();
    let other = RunHeader { series_id: "another-scan".to_owned(), ..header.clone() };
    let (first, second) = (daemon.talk(), daemon.talk());
    let first_run = first.start_run(&header).run;
    first.send_volumes(&first_run, &volumes[..5]);
    let second_run = second.start_run(&other).run;
    assert_eq!(second_run, format!("{first_run}+2"));
    // By the name of its own run, which the open one answers to as well.
    first.say(&FromAdapter::Volume(volumes[5].clone().into_message(&first_run)));
    let refused = first.answer();
    let is_unknown = |code| matches!(code, RefusalCode::UnknownRun);
    assert!(matches!(&refused, ToAdapter::Refused(why) if is_unknown(why.code)), "{refused:?}");
    // A volume that it is unsure of, and the end, are acknowledged again and change nothing.
    first.send_volumes(&first_run, &volumes[4..5]);
    first.end_run(&first_run, 6);
    // It cannot take the daemon back from the second one.
    first.say(&FromAdapter::Run { header, resume: true });
    assert!(first.refusal().contains("stop one of the two adapters"));
    second.send_volumes(&second_run, &volumes[..10]);

    // A third one takes the second run over; the second can neither add to it nor end it.
    let third = daemon.talk();
    third.say(&FromAdapter::Run { header: other, resume: true });
    assert!(matches!(third.answer(), ToAdapter::Ready(ready) if ready.next_index == 10));
    second.say(&FromAdapter::End(End {
        run: second_run.clone(),
        n_sent: Some(10),
        triggers: None,
    }));
    assert!(second.refusal().contains("another adapter has announced this run since"));
    third.send_volumes(&second_run, &volumes[10..]);
    third.end_run(&second_run, 40);
    // The first adapter knows what it could not send; every run of the daemon is whole.
    assert_eq!(daemon.stop().code, Some(0));
}
