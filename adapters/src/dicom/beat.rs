//! Acquisition times by the scanner's clock, as long as it keeps a beat.
//!
//! Within half a repetition time of the time computed from index and repetition time, the clock is
//! used. A clock that keeps a beat of its own is used as well, with a warning, because then it is
//! the repetition time that is wrong. Otherwise (clock adjusted, times anonymised) the computed
//! time is used.

use corticast_bold::time::{RepetitionTime, TrIndex};

use super::{
    clock::{Moment, elapsed_us},
    timing::agree,
};

/// So many steps of one length are a beat.
const STEPS_OF_A_BEAT: u32 = 2;

/// The scanner's clock during one run.
#[derive(Debug, Default)]
pub struct Beat {
    /// Time of day at which index 0 began.
    start_us: Option<i64>,
    last: Option<(TrIndex, i64)>,
    /// The time between volumes that the clock keeps, in seconds.
    own_s: Option<f64>,
    n_step: u32,
    /// The operator was told that the clock does not keep the repetition time.
    is_lost: bool,
    /// The operator was told of the clock's own beat.
    is_warned: bool,
}

impl Beat {
    /// Start of a volume, in seconds since the start of index 0.
    pub fn start_s(
        &mut self,
        index: TrIndex,
        time: Moment,
        repetition: RepetitionTime,
    ) -> Option<f64> {
        let beat_s = repetition.start_of(index);
        let start_us = *self.start_us.get_or_insert(time.us - (beat_s * 1e6).round() as i64);
        let clock_s = elapsed_us(start_us, time.us) as f64 / 1e6;
        self.count(index, time);
        // For a run longer than half a day the clock wraps around, and the computed time is used.
        if (clock_s - beat_s).abs() <= repetition.as_secs() / 2.0 {
            self.compare(repetition);
            return Some(clock_s);
        }
        if self.n_step >= STEPS_OF_A_BEAT {
            self.compare(repetition);
            return Some(clock_s);
        }
        if !self.is_lost {
            self.is_lost = true;
            tracing::warn!(
                %index, clock_s, beat_s,
                "acquisition times do not match the repetition time; using the repetition time"
            );
        }
        Some(beat_s)
    }

    /// Counts the steps of one length.
    fn count(&mut self, index: TrIndex, time: Moment) {
        let last = self.last.replace((index, time.us));
        let Some((last_index, last_us)) = last.filter(|(last, _)| *last < index) else { return };
        let n = f64::from(index.0 - last_index.0);
        let step_s = elapsed_us(last_us, time.us) as f64 / 1e6 / n;
        match self.own_s {
            Some(own_s) if step_s > 0.0 && agree(step_s, own_s) => self.n_step += 1,
            _ => (self.own_s, self.n_step) = (Some(step_s).filter(|step| *step > 0.0), 1),
        }
    }

    /// Warns once when the clock keeps another beat than the repetition time.
    fn compare(&mut self, repetition: RepetitionTime) {
        let Some(own_s) = self.own_s.filter(|_| self.n_step >= STEPS_OF_A_BEAT) else { return };
        if !self.is_warned && !agree(own_s, repetition.as_secs()) {
            self.is_warned = true;
            tracing::warn!(
                "volumes come every {own_s:.4} s by the scanner's clock, but the repetition time \
                 is {repetition}; if the clock is right, give --tr {own_s:.4}"
            );
        }
    }
}
