//! When a clip is shown: the film follows the time of the run.
//!
//! Times are counted in frames from the start of the run's first clip. A clip that starts after
//! the one before it has ended leaves a gap; one that starts earlier loses its first frames, so
//! that the film never falls behind the session.

use crate::outputs::frames::FrameRate;

/// The longest time one picture is shown; a longer break is cut to this.
const LONGEST_S: f64 = 600.0;
/// Upper bound on frames, beyond any session.
const MOST_FRAMES: f64 = 1e9;

/// How much of a run the film has shown.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    rate: FrameRate,
    /// When the stimulus of the run's first clip was shown.
    origin_s: f64,
    /// Frames from the origin to the end of the last clip shown.
    n_frame: u64,
}

/// Position of a clip in the film.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Frames for which the previous picture is held.
    pub(super) n_held: u64,
    /// Frames of the film that the clip covers.
    pub(super) n_frame: u64,
    /// The first of these frames that are already past and not shown.
    pub(super) n_gone: u64,
}

impl Clock {
    /// A clock that starts at the stimulus of the run's first clip.
    pub(super) fn start(rate: FrameRate, origin_s: f64) -> Self {
        Self { rate, origin_s, n_frame: 0 }
    }

    /// Places the next clip and advances the clock to its end.
    pub(super) fn place(&mut self, stimulus_time_s: f64, lasts_s: f64) -> Place {
        // A clip whose time is not finite follows the previous one directly.
        let since_start = frames_in(self.rate, stimulus_time_s - self.origin_s);
        let start = since_start.unwrap_or(self.n_frame);
        let longest = frames_in(self.rate, LONGEST_S).unwrap_or(1);
        let n_frame = frames_in(self.rate, lasts_s).unwrap_or(1).clamp(1, longest);
        let n_held = start.saturating_sub(self.n_frame).min(longest);
        let n_gone = self.n_frame.saturating_sub(start).min(n_frame);
        self.n_frame = self.n_frame.max(start + n_frame);
        Place { n_held, n_frame, n_gone }
    }
}

impl Place {
    /// How long picture `at` of a clip's `n` pictures is shown, in frames of the film; 0 if it is
    /// skipped.
    pub(super) fn shown_for(&self, at: usize, n: usize) -> u64 {
        let (at, n) = (at as u64, n.max(1) as u64);
        let start = |at: u64| (at * self.n_frame).div_ceil(n).max(self.n_gone);
        start(at + 1) - start(at)
    }
}

/// Frames in a time span; 0 if it is negative, `None` if it is not finite.
fn frames_in(rate: FrameRate, time_s: f64) -> Option<u64> {
    time_s.is_finite().then(|| (time_s * rate.hz()).round().clamp(0.0, MOST_FRAMES) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A clock at 8 frames per second whose first clip lasted from 10 s to 12 s.
    fn clock() -> Clock {
        let mut clock = Clock::start(FrameRate::of(8.0), 10.0);
        assert_eq!(clock.place(10.0, 2.0), Place { n_held: 0, n_frame: 16, n_gone: 0 });
        clock
    }

    #[test]
    fn clips_follow_each_other_without_a_gap() {
        let mut clock = clock();
        assert_eq!(clock.place(12.0, 2.0), Place { n_held: 0, n_frame: 16, n_gone: 0 });
        assert_eq!(clock.place(14.0, 2.0), Place { n_held: 0, n_frame: 16, n_gone: 0 });
    }

    #[test]
    fn a_late_clip_leaves_a_gap_and_an_early_one_loses_its_first_frames() {
        assert_eq!(clock().place(16.0, 2.0), Place { n_held: 32, n_frame: 16, n_gone: 0 });
        let early = clock().place(11.5, 2.0);
        assert_eq!(early, Place { n_held: 0, n_frame: 16, n_gone: 4 });
        // Eight pictures for 16 frames: two of them have gone by.
        let shown: Vec<u64> = (0..8).map(|at| early.shown_for(at, 8)).collect();
        assert_eq!(shown, [0, 0, 2, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn a_break_is_cut_and_a_clip_without_a_time_follows_directly() {
        assert_eq!(clock().place(1e300, 2.0).n_held, 4800);
        assert_eq!(clock().place(f64::NAN, f64::NAN), Place { n_held: 0, n_frame: 1, n_gone: 0 });
        let mut clock = clock();
        clock.place(1e300, 1e300);
        assert_eq!(clock.place(1e300, 1e300).n_gone, 4800);
    }

    proptest! {
        /// Whatever the times of the clips, the film keeps up with the session; the pictures of a
        /// clip together fill the rest of its time.
        #[test]
        fn a_film_neither_hurries_nor_falls_behind(
            starts in proptest::collection::vec(0_u32..200, 1..20),
            n_frame in 1_usize..40,
            n_picture in 1_usize..40,
        ) {
            let mut clock = Clock::start(FrameRate::of(8.0), 0.0);
            let mut shown = 0;
            let mut end = 0;
            for start in starts {
                let place = clock.place(f64::from(start) / 8.0, n_frame as f64 / 8.0);
                let own: u64 = (0..n_picture).map(|at| place.shown_for(at, n_picture)).sum();
                prop_assert_eq!(own, n_frame as u64 - place.n_gone);
                shown += place.n_held + own;
                end = end.max(u64::from(start) + n_frame as u64);
                prop_assert_eq!(shown, end);
            }
        }
    }
}
