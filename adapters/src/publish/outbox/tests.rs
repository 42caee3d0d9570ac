//! Tests the order of messages, written in a short notation (see `said`).

use std::time::Duration;

use corticast_wire::message::{
    Ack, DaemonPing, Durability, PROTOCOL, Ready, RefusalCode, Refused, ToAdapter,
};

use super::*;
use crate::publish::fixture;

const RUN: &str = "sub-01";

fn outbox(capacity: usize, onsets_s: &[f64]) -> Outbox {
    let event = |&onset_s: &f64| Event { onset_s, duration_s: 1.0, trial_type: "face".into() };
    let events = onsets_s.iter().map(event).collect();
    Outbox::new(fixture::run([1, 1, 1], 2.0, None), events, capacity, Spill::new(1 << 20))
}

fn volume(index: u32) -> AcquiredVolume {
    fixture::volume(index, 1)
}

fn ready(instance: &str) -> ToAdapter {
    ToAdapter::Ready(Ready {
        protocol: PROTOCOL,
        run: RUN.into(),
        durability: Durability::None,
        next_index: 0,
        instance: instance.into(),
    })
}

fn ack(index: impl Into<Option<u32>>) -> ToAdapter {
    ToAdapter::Ack(Ack { run: RUN.into(), index: index.into() })
}

fn refused(code: RefusalCode, index: Option<u32>) -> ToAdapter {
    ToAdapter::Refused(Refused { run: Some(RUN.into()), index, code, reason: "why".into() })
}

/// The messages due now, in short: `run`, `resume`, `0` for a volume, `@2` for a mark, `end`.
fn said(outbox: &mut Outbox, now: Instant) -> Vec<String> {
    std::iter::from_fn(|| outbox.next_due(now))
        .map(|message| match message {
            FromAdapter::Run { resume: false, .. } => "run".into(),
            FromAdapter::Run { resume: true, .. } => "resume".into(),
            FromAdapter::Volume(volume) => volume.header.index.0.to_string(),
            FromAdapter::Mark(mark) => format!("@{}", mark.time_s),
            FromAdapter::End(end) => format!("end {}", end.n_sent.unwrap()),
            FromAdapter::Ping => "ping".into(),
        })
        .collect()
}

#[test]
fn a_run_is_announced_then_sent_then_ended() {
    let now = Instant::now();
    let mut outbox = outbox(8, &[1.0, 2.0, 9.0]);
    outbox.push(volume(0));
    assert_eq!(said(&mut outbox, now), ["run"]);
    outbox.answer(ready("a"), now).unwrap();
    outbox.push(volume(1));
    // A mark goes before the volume whose acquisition begins at or after it.
    assert_eq!(said(&mut outbox, now), ["0", "@1", "@2", "1"]);
    outbox.finish();
    outbox.answer(ack(0), now).unwrap();
    assert_eq!(said(&mut outbox, now), Vec::<String>::new());
    outbox.answer(ack(1), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["@9", "end 2"]);
    assert!(!outbox.is_over());
    outbox.answer(ack(None), now).unwrap();
    assert!(outbox.is_over());
    assert_eq!(outbox.tally(), Tally { acked: 2, lost: 0, resent: 0 });
}

#[test]
fn another_daemon_gets_the_run_and_all_that_was_not_acknowledged_in_order() {
    let now = Instant::now();
    let mut outbox = outbox(2, &[]);
    said(&mut outbox, now);
    outbox.answer(ready("a"), now).unwrap();
    for index in 0..5 {
        outbox.push(volume(index));
    }
    assert_eq!(said(&mut outbox, now), ["0", "1"]);
    outbox.answer(ack(0), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["2"]);
    outbox.answer(ToAdapter::Ping(DaemonPing { instance: "b".into() }), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["resume"]);
    outbox.answer(ready("b"), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["1", "2"]);
    outbox.answer(ack(1), now).unwrap();
    outbox.answer(ack(2), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["3", "4"], "out of the spill");
    assert_eq!(outbox.n_unacked(), 2);
}

#[test]
fn a_daemon_that_does_not_know_the_run_is_told_once() {
    let now = Instant::now();
    let mut outbox = outbox(4, &[]);
    said(&mut outbox, now);
    outbox.answer(ready("a"), now).unwrap();
    outbox.push(volume(0));
    outbox.push(volume(1));
    said(&mut outbox, now);
    outbox.answer(refused(RefusalCode::UnknownRun, Some(0)), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["resume"]);
    outbox.answer(refused(RefusalCode::UnknownRun, Some(1)), now).unwrap();
    assert_eq!(said(&mut outbox, now), Vec::<String>::new());
    outbox.answer(ready("b"), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["0", "1"]);
}

#[test]
fn a_daemon_that_acknowledges_nothing_is_still_fed() {
    let now = Instant::now();
    let mut outbox = outbox(2, &[]);
    said(&mut outbox, now);
    outbox.answer(ready("a"), now).unwrap();
    for index in 0..5 {
        outbox.push(volume(index));
        assert_eq!(said(&mut outbox, now), [index.to_string()], "each once, in order");
    }
    assert_eq!(outbox.n_unacked(), 5);
    // Another daemon has none of the volumes and receives them in order.
    outbox.answer(ready("b"), now).unwrap();
    outbox.answer(ToAdapter::Ping(DaemonPing { instance: "b".into() }), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["resume"]);
    outbox.answer(ready("b"), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["0", "1"]);
    outbox.push(volume(5));
    assert_eq!(said(&mut outbox, now), Vec::<String>::new(), "not before 2, 3 and 4");
    for index in 0..4 {
        outbox.answer(ack(index), now).unwrap();
    }
    assert_eq!(said(&mut outbox, now), ["2", "3"]);
}

#[test]
fn silence_stops_the_sending_and_a_sign_of_life_resumes_it() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut outbox = outbox(4, &[]);
    said(&mut outbox, start);
    outbox.answer(ready("a"), start).unwrap();
    outbox.push(volume(0));
    assert_eq!(said(&mut outbox, start), ["0"]);
    assert_eq!(said(&mut outbox, at(6)), Vec::<String>::new());
    outbox.answer(ToAdapter::Ping(DaemonPing { instance: "a".into() }), at(7)).unwrap();
    assert_eq!(said(&mut outbox, at(7)), ["0"]);
    assert_eq!(outbox.tally().resent, 1);
}

/// A daemon that is alive, and is asked what is due every second.
fn every_second(outbox: &mut Outbox, seconds: std::ops::Range<u64>, start: Instant) -> Vec<String> {
    let mut all = Vec::new();
    for second in seconds {
        let now = start + Duration::from_secs(second);
        outbox.answer(ToAdapter::Ping(DaemonPing { instance: "a".into() }), now).unwrap();
        all.extend(said(outbox, now));
    }
    all
}

#[test]
fn a_daemon_that_is_behind_is_not_flooded() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut outbox = outbox(64, &[]);
    said(&mut outbox, start);
    outbox.answer(ready("a"), start).unwrap();
    for index in 0..80 {
        outbox.push(volume(index));
        assert_eq!(said(&mut outbox, start), [index.to_string()]);
    }
    // For ten minutes it acknowledges nothing: only the oldest comes again, ever more rarely.
    let repeats = every_second(&mut outbox, 1..600, start);
    assert!((3..15).contains(&repeats.len()), "{repeats:?}");
    assert!(repeats.iter().all(|index| index == "0"), "{repeats:?}");
    assert_eq!(outbox.trouble(at(600)), Some(Trouble::Behind));
    // Then it goes on: none of the others was lost, and none is sent again.
    for index in 0..80 {
        outbox.answer(ack(index), at(600)).unwrap();
        assert_eq!(said(&mut outbox, at(600)), Vec::<String>::new());
    }
    assert_eq!((outbox.n_unacked(), outbox.tally().acked), (0, 80));
    assert_eq!(outbox.trouble(at(600)), None);
}

#[test]
fn a_volume_that_was_lost_on_the_way_is_sent_again() {
    let start = Instant::now();
    let mut outbox = outbox(8, &[]);
    said(&mut outbox, start);
    outbox.answer(ready("a"), start).unwrap();
    for index in 0..4 {
        outbox.push(volume(index));
    }
    assert_eq!(said(&mut outbox, start), ["0", "1", "2", "3"]);
    for index in [0, 3] {
        outbox.answer(ack(index), start).unwrap();
    }
    // 3 was sent after 1 and 2, so these did not arrive.
    assert_eq!(every_second(&mut outbox, 1..8, start), ["1", "2"]);
}

#[test]
fn a_message_that_found_no_room_is_sent_first_and_the_daemon_does_not_count_as_silent() {
    let now = Instant::now();
    let mut outbox = outbox(8, &[1.0, 9.0]);
    said(&mut outbox, now);
    outbox.answer(ready("a"), now).unwrap();
    outbox.push(volume(1));
    let mark = outbox.next_due(now).unwrap();
    assert!(matches!(mark, FromAdapter::Mark(_)));
    outbox.not_sent(mark);
    assert!(!outbox.is_silent(now));
    assert_eq!(said(&mut outbox, now), Vec::<String>::new());
    assert_eq!(outbox.n_unsent_marks(), 2);
    outbox.answer(ToAdapter::Ping(DaemonPing { instance: "a".into() }), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["@1", "1"]);
    outbox.finish();
    outbox.answer(ack(1), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["@9", "end 1"]);
    assert_eq!(outbox.n_unsent_marks(), 0);
    // Another daemon gets the last mark, too.
    outbox.answer(ToAdapter::Ping(DaemonPing { instance: "b".into() }), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["resume"]);
    outbox.answer(ready("b"), now).unwrap();
    assert_eq!(said(&mut outbox, now), ["@9", "end 1"]);
}

#[test]
fn a_damaged_volume_is_sent_three_times_more_and_one_that_does_not_fit_is_lost() {
    let now = Instant::now();
    let mut outbox = outbox(4, &[]);
    said(&mut outbox, now);
    outbox.answer(ready("a"), now).unwrap();
    outbox.push(volume(0));
    outbox.push(volume(1));
    assert_eq!(said(&mut outbox, now), ["0", "1"]);
    outbox.answer(refused(RefusalCode::DoesNotFit, Some(1)), now).unwrap();
    for _ in 0..3 {
        outbox.answer(refused(RefusalCode::Damaged, Some(0)), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["0"]);
    }
    outbox.answer(refused(RefusalCode::Damaged, Some(0)), now).unwrap();
    assert_eq!(said(&mut outbox, now), Vec::<String>::new());
    assert_eq!(outbox.tally().lost, 2);
}

#[test]
fn a_refused_run_says_why() {
    let now = Instant::now();
    let mut outbox = outbox(4, &[]);
    said(&mut outbox, now);
    let error = outbox.answer(refused(RefusalCode::RunRefused, None), now).unwrap_err();
    assert_eq!(error.to_string(), "the daemon refuses run sub-01: why");
}
