//! When a replayed volume is due: by absolute deadlines, so that delays do not add up.
//!
//! A scanner delivers a volume when its acquisition ends, one TR after its start. Volumes from a
//! file are sent at the same moments, or faster by a factor, or as fast as the daemon
//! acknowledges them. A real scanner keeps its own time and is not paced.

use std::time::{Duration, Instant};

use corticast_bold::time::RepetitionTime;

/// Who sets the pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The daemon: the next volume goes out when there is room in the window.
    AsAcknowledged,
    /// The clock: real time, faster by this factor. Positive and finite.
    Clock(f64),
    /// The scanner: a volume goes out when it arrives.
    Scanner,
}

impl Pace {
    /// The pace that `--speed` selects: 0 is as fast as acknowledged, 1 is real time.
    ///
    /// # Errors
    ///
    /// Fails when the speed is neither 0 nor 0.001 to 1000000.
    pub fn from_speed(speed: f64) -> Result<Self, String> {
        match speed {
            0.0 => Ok(Self::AsAcknowledged),
            _ if (0.001..=1e6).contains(&speed) => Ok(Self::Clock(speed)),
            _ => Err(format!("expected a speed of 0, or 0.001 to 1000000, got {speed}")),
        }
    }
}

/// The deadlines of one run.
#[derive(Clone, Debug)]
pub struct Deadlines {
    speed: f64,
    repetition_time: RepetitionTime,
    /// When the clock started, and the first volume's time in the run.
    origin: Option<(Instant, f64)>,
    last: Option<Instant>,
}

impl Deadlines {
    /// The clock starts at the first call of [`Deadlines::due`].
    #[must_use]
    pub fn new(speed: f64, repetition_time: RepetitionTime) -> Self {
        Self { speed, repetition_time, origin: None, last: None }
    }

    /// When a volume whose acquisition starts at `acquisition_time_s` is complete. Never before
    /// the deadline returned last, so a volume that is out of order is due at once.
    pub fn due(&mut self, acquisition_time_s: f64, now: Instant) -> Instant {
        let (start, first_s) = *self.origin.get_or_insert((now, acquisition_time_s));
        let elapsed_s = acquisition_time_s - first_s + self.repetition_time.as_secs();
        let wait = Duration::try_from_secs_f64((elapsed_s / self.speed).max(0.0));
        let due = wait.ok().and_then(|wait| start.checked_add(wait)).unwrap_or(start);
        let due = self.last.map_or(due, |last| last.max(due));
        self.last = Some(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_counted_from_the_start_however_late_they_are_asked() {
        let tr = RepetitionTime::from_secs(2.0).unwrap();
        let mut deadlines = Deadlines::new(10.0, tr);
        let start = Instant::now();
        let due_ms = |d: &mut Deadlines, acquisition_s: f64, asked_ms: u64| {
            let due = d.due(acquisition_s, start + Duration::from_millis(asked_ms));
            due.duration_since(start).as_millis()
        };
        // The run is resumed at volume 5: it is complete one TR after the clock starts.
        assert_eq!(due_ms(&mut deadlines, 10.0, 0), 200);
        assert_eq!(due_ms(&mut deadlines, 12.0, 390), 400);
        assert_eq!(due_ms(&mut deadlines, 16.0, 999), 800);
        assert_eq!(due_ms(&mut deadlines, 14.0, 999), 800, "a late volume");
    }

    #[test]
    fn an_invalid_speed_is_refused() {
        assert_eq!(Pace::from_speed(0.0), Ok(Pace::AsAcknowledged));
        assert_eq!(Pace::from_speed(10.0), Ok(Pace::Clock(10.0)));
        assert!(Pace::from_speed(-1.0).is_err() && Pace::from_speed(f64::NAN).is_err());
    }
}
