//! The beat of a run's triggers: which volume each belongs to.
//!
//! Each trigger is compared with the one before it, so a repetition time that is slightly wrong does
//! not add up. What does not fit is left out, and the beat goes on from the last one that did, unless
//! several in a row fit each other: then the beat has moved.

use super::train::OFF_BEAT;

/// How much of a step's difference the beat takes over.
const LEARN: f64 = 0.1;
/// Largest part of the beat by which a trigger may be off after several missed ones.
const MOST_OFF: f64 = 0.25;
/// How much of the distance of slices a volume's trigger may be off.
const HALF_A_SLICE: f64 = 0.45;
/// So many triggers that do not fit, but fit each other, are a beat that moved.
const MOVED_AFTER: u32 = 4;
/// How far from the last trigger the time of a volume is computed, in beats.
const REACH: f64 = 5.0;

/// What a trigger is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The start of this volume; so many before it had none.
    Volume { index: i64, n_missed: u32 },
    /// The start of a slice within a volume.
    Slice,
    /// None that fits.
    Spurious,
    /// The beat has moved by so many seconds, and goes on from here with this volume.
    Moved { index: i64, by_s: f64 },
}

/// The beat of a run. Times are seconds since its zero.
#[derive(Clone, Debug)]
pub(super) struct Beat {
    beat_s: f64,
    slice_s: Option<f64>,
    last_s: f64,
    last: i64,
    /// The last one that did not fit, and how many in a row fit each other.
    off: Option<(f64, u32)>,
}

impl Beat {
    /// A beat whose first trigger, at `first_s`, is that of volume `index`.
    pub(super) fn new(beat_s: f64, slice_s: Option<f64>, first_s: f64, index: i64) -> Self {
        Self { beat_s, slice_s, last_s: first_s, last: index, off: None }
    }

    /// Time between the triggers of two volumes, in seconds.
    pub(super) fn beat_s(&self) -> f64 {
        self.beat_s
    }

    /// Time of the last trigger that fitted.
    pub(super) fn last_s(&self) -> f64 {
        self.last_s
    }

    /// The next trigger that comes is that of volume `index`, whenever it comes: the scan paused.
    pub(super) fn take_up(&mut self, time_s: f64, index: i64) {
        (self.last_s, self.last, self.off) = (time_s, index, None);
    }

    /// When a volume without a trigger of its own began.
    pub(super) fn time_of(&self, index: i64) -> Option<f64> {
        let beats = (index - self.last) as f64;
        (beats.abs() <= REACH).then_some(self.last_s + beats * self.beat_s)
    }

    /// Takes the next trigger.
    pub(super) fn take(&mut self, time_s: f64) -> Kind {
        let (beats, off_s) = steps(time_s - self.last_s, self.beat_s);
        let allowed_s = match self.slice_s {
            Some(slice_s) => HALF_A_SLICE * slice_s,
            None => (OFF_BEAT + beats / 100.0).min(MOST_OFF) * self.beat_s,
        };
        if beats >= 1.0 && off_s.abs() <= allowed_s {
            self.beat_s += LEARN * off_s / beats;
            let index = self.last + beats as i64;
            (self.last_s, self.last, self.off) = (time_s, index, None);
            return Kind::Volume { index, n_missed: (beats - 1.0).min(1e6) as u32 };
        }
        if self.slice_s.is_some() {
            return Kind::Slice;
        }
        let n = match self.off {
            Some((off, n)) => {
                let (beats, off_s) = steps(time_s - off, self.beat_s);
                let fits = (1.0..=2.0).contains(&beats) && off_s.abs() <= OFF_BEAT * self.beat_s;
                if fits { n + 1 } else { 1 }
            }
            None => 1,
        };
        self.off = Some((time_s, n));
        if n < MOVED_AFTER {
            return Kind::Spurious;
        }
        let index = self.last + (beats as i64).max(1);
        (self.last_s, self.last, self.off) = (time_s, index, None);
        Kind::Moved { index, by_s: off_s }
    }
}

/// A time as a whole number of beats, and what is left of it in seconds.
fn steps(time_s: f64, beat_s: f64) -> (f64, f64) {
    let beats = (time_s / beat_s).round();
    (beats, time_s - beats * beat_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(index: i64, n_missed: u32) -> Kind {
        Kind::Volume { index, n_missed }
    }

    #[test]
    fn triggers_count_on_with_a_wrong_repetition_time() {
        // 4 ms a volume: after 500 volumes a whole one.
        let mut beat = Beat::new(2.0, None, 0.0, 0);
        for index in 1..600 {
            assert_eq!(beat.take(2.004 * index as f64), volume(index, 0));
        }
        assert!((beat.beat_s() - 2.004).abs() < 1e-6);
    }

    #[test]
    fn missed_and_spurious_triggers_do_not_move_the_count() {
        let mut beat = Beat::new(2.0, None, 0.0, 0);
        assert_eq!(beat.take(2.01), volume(1, 0));
        assert_eq!(beat.take(2.6), Kind::Spurious);
        assert_eq!(beat.take(8.0), volume(4, 2));
        assert_eq!(beat.take(8.1), Kind::Spurious);
        assert_eq!(beat.take(10.0), volume(5, 0));
        assert!((beat.time_of(6).unwrap() - 12.0).abs() < 0.02);
        assert_eq!(beat.time_of(60), None);
    }

    #[test]
    fn a_beat_that_moved_is_followed() {
        let mut beat = Beat::new(2.0, None, 0.0, 0);
        let kinds: Vec<Kind> = (1..6).map(|n| beat.take(2.0 * f64::from(n) + 0.7)).collect();
        assert_eq!(kinds[..3], [Kind::Spurious; 3]);
        assert!(matches!(kinds[3], Kind::Moved { index: 4, by_s } if (by_s - 0.7).abs() < 1e-9));
        assert_eq!(kinds[4], volume(5, 0));
    }

    #[test]
    fn of_the_triggers_of_slices_one_a_volume_counts() {
        let mut beat = Beat::new(2.0, Some(0.0625), 0.0, 0);
        let kinds: Vec<Kind> = (1..=96).map(|n| beat.take(0.0625 * f64::from(n))).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Slice).count(), 93);
        assert_eq!((kinds[31], kinds[63], kinds[95]), (volume(1, 0), volume(2, 0), volume(3, 0)));
    }
}
