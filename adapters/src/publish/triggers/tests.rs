//! Runs with triggers, by the second.

use std::collections::VecDeque;

use corticast_images::events::Event;
use corticast_wire::message::{Mark, TriggerCounts};

use super::run::Run;

const TR: f64 = 2.0;
/// From the end of a volume's acquisition to its arrival.
const EXPORT_S: f64 = 0.3;

/// What happens at a time.
#[derive(Clone, Copy)]
enum What {
    Edge,
    /// A volume, with its acquisition time if the scanner states one.
    Volume(u32, Option<f64>),
}

/// Plays edges and volumes in order of time.
struct Played {
    run: Run,
    waiting: VecDeque<f64>,
    marks: Vec<Event>,
    /// Time given to each volume.
    times: Vec<(u32, Option<f64>)>,
}

impl Played {
    fn new(dummies: u32) -> Self {
        let run = Run::new(TR, dummies);
        Self { run, waiting: VecDeque::new(), marks: Vec::new(), times: Vec::new() }
    }

    fn play(&mut self, mut happenings: Vec<(f64, What)>) {
        happenings.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at_s, what) in happenings {
            match what {
                What::Edge => {
                    if !self.run.edge(at_s) {
                        self.waiting.push_back(at_s);
                    }
                }
                What::Volume(index, acquired_s) => {
                    let time = self.run.volume(index, acquired_s, at_s, &mut self.waiting);
                    self.times.push((index, time));
                }
            }
            self.marks.extend(self.run.take_marks());
        }
    }

    fn end(&mut self) -> TriggerCounts {
        self.run.settle(&mut self.waiting);
        self.marks.extend(self.run.take_marks());
        self.run.counts()
    }

    fn times_of(&self, name: &str) -> Vec<f64> {
        let of_name = self.marks.iter().filter(|mark| mark.trial_type == name);
        of_name.map(|mark| (mark.onset_s * 1e6).round() / 1e6).collect()
    }
}

/// The run began at 100 s.
fn edges(from: i32, to: i32) -> Vec<(f64, What)> {
    (from..to).map(|k| (100.0 + TR * f64::from(k), What::Edge)).collect()
}

fn volumes(from: u32, to: u32) -> Vec<(f64, What)> {
    let arrival = |k: u32| 100.0 + TR * f64::from(k + 1) + EXPORT_S;
    (from..to).map(|k| (arrival(k), What::Volume(k, None))).collect()
}

fn beats(from: i32, to: i32) -> Vec<f64> {
    (from..to).map(|k| TR * f64::from(k)).collect()
}

#[test]
fn the_first_trigger_is_the_zero_and_gives_volumes_their_times() {
    let mut played = Played::new(0);
    // Somebody pressed the key before.
    let pressed = vec![(91.3, What::Edge), (98.7, What::Edge)];
    played.play([pressed, edges(0, 20), volumes(0, 20)].concat());
    let counts = played.end();
    assert_eq!(played.times_of(Mark::TRIGGER), beats(0, 20));
    assert!(played.marks.is_sorted_by(|a, b| a.onset_s <= b.onset_s));
    assert_eq!(
        (counts.n, counts.n_missed, counts.n_spurious, counts.n_without_volume),
        (20, 0, 0, 0)
    );
    // Index 0 arrives before its run's zero is known, and begins at 0 anyway.
    assert_eq!(played.times[0], (0, None));
    assert!(played.times[1..].iter().all(|(k, t)| (t.unwrap() - TR * f64::from(*k)).abs() < 1e-6));
    assert!(counts.drift_ms_per_min.unwrap().abs() < 1e-3);
    assert!((counts.delay_s.unwrap() - (TR + EXPORT_S)).abs() < 1e-6);
}

#[test]
fn triggers_of_dummy_scans_come_before_zero() {
    let mut played = Played::new(3);
    played.play([edges(-3, 20), volumes(0, 20)].concat());
    let counts = played.end();
    assert_eq!(played.times_of(Mark::TRIGGER), beats(-3, 20));
    assert_eq!((counts.n, counts.n_without_volume), (23, 3));
}

#[test]
fn a_run_that_was_under_way_is_moved_back_to_its_start() {
    // Volumes 0 to 9 lay in the folder; the adapter came at 121 s.
    let old = (0..10).map(|k| (121.0 + 0.01 * f64::from(k), What::Volume(k, None)));
    let mut played = Played::new(0);
    played.play([old.collect(), edges(11, 20), volumes(10, 20)].concat());
    let counts = played.end();
    assert_eq!(played.times_of(Mark::TRIGGER), beats(11, 20));
    assert_eq!((counts.n, counts.n_missed, counts.n_without_volume), (9, 0, 0));
}

#[test]
fn drift_and_jitter_are_those_of_the_clocks() {
    // The scanner's clock is fast by 0.1 %, which is 60 ms in a minute; triggers come 2 ms early
    // and late in turns.
    let mut played = Played::new(0);
    let time =
        |k: u32| 100.0 + TR * f64::from(k) + if k.is_multiple_of(2) { 0.002 } else { -0.002 };
    let edges = (0..200).map(|k| (time(k), What::Edge)).collect::<Vec<_>>();
    let volume = |k: u32| What::Volume(k, Some(TR * f64::from(k) * 1.001));
    let volumes = (0..200).map(|k| (time(k) + TR + EXPORT_S, volume(k))).collect();
    played.play([edges, volumes].concat());
    let counts = played.end();
    assert!((counts.drift_ms_per_min.unwrap() - 60.0).abs() < 0.5, "{counts:?}");
    assert!((counts.jitter_ms.unwrap() - 2.0).abs() < 0.1, "{counts:?}");
}

#[test]
fn missed_and_spurious_triggers_are_counted_and_move_nothing() {
    let mut played = Played::new(0);
    let mut some = edges(0, 30);
    some.remove(17);
    some.remove(9);
    some.extend([(108.9, What::Edge), (131.1, What::Edge)]);
    played.play([some, volumes(0, 30)].concat());
    let counts = played.end();
    assert_eq!((counts.n, counts.n_missed, counts.n_spurious), (28, 2, 2));
    assert_eq!(played.times_of(Mark::OFF_BEAT), [8.9, 31.1]);
    // The volumes without one get the time between.
    assert!((played.times[9].1.unwrap() - 18.0).abs() < 0.01, "{:?}", played.times[9]);
}

#[test]
fn of_the_triggers_of_slices_the_first_of_each_volume_counts() {
    let mut played = Played::new(0);
    let slices = (0..20 * 32).map(|k| (100.0 + TR / 32.0 * f64::from(k), What::Edge)).collect();
    played.play([slices, volumes(0, 20)].concat());
    let counts = played.end();
    assert_eq!(played.times_of(Mark::TRIGGER), beats(0, 20));
    assert_eq!((counts.n, counts.n_slice, counts.n_missed), (20, 20 * 31, 0));
}

#[test]
fn the_next_scans_triggers_wait_for_its_run() {
    let mut played = Played::new(0);
    // Two minutes later, while the first run is still open.
    let next: Vec<_> = edges(60, 63);
    played.play([edges(0, 10), volumes(0, 10), next].concat());
    let counts = played.end();
    assert_eq!((counts.n, played.times_of(Mark::TRIGGER)), (10, beats(0, 10)));
    assert_eq!(played.waiting, [220.0, 222.0, 224.0]);
    played.run = Run::new(TR, 0);
    played.marks.clear();
    let later = |k: u32| (220.0 + TR * f64::from(k + 1) + EXPORT_S, What::Volume(k, None));
    played.play([edges(63, 70), (0..10).map(later).collect()].concat());
    assert_eq!((played.end().n, played.times_of(Mark::TRIGGER)), (10, beats(0, 10)));
}

#[test]
fn a_scan_that_paused_goes_on_with_the_next_volume() {
    let mut played = Played::new(0);
    let later = |k: u32| (160.0 + TR * f64::from(k - 9) + EXPORT_S, What::Volume(k, None));
    played.play(
        [edges(0, 10), volumes(0, 10), edges(30, 40), (10..20).map(later).collect()].concat(),
    );
    let counts = played.end();
    assert_eq!((counts.n, counts.n_missed, counts.n_without_volume), (20, 0, 0));
    assert_eq!(played.times_of(Mark::TRIGGER), [beats(0, 10), beats(30, 40)].concat());
}

#[test]
fn triggers_that_were_silent_while_volumes_came_count_on() {
    let mut played = Played::new(0);
    played.play([edges(0, 10), edges(20, 30), volumes(0, 30)].concat());
    let counts = played.end();
    assert_eq!((counts.n, counts.n_missed, counts.n_without_volume), (20, 10, 0));
}

#[test]
fn a_run_without_triggers_or_with_one_is_no_problem() {
    let mut played = Played::new(0);
    played.play(volumes(0, 10));
    assert_eq!(played.end(), TriggerCounts::default());
    let mut played = Played::new(0);
    played.play([edges(0, 1), volumes(0, 10)].concat());
    let counts = played.end();
    assert_eq!((counts.n, counts.n_missed, counts.drift_ms_per_min), (1, 0, None));
    assert_eq!(played.times_of(Mark::TRIGGER), [0.0]);
}
