//! Pacing of the generator.

use std::time::Duration;

use crate::config::{GeneratorConfig, generator::WhenSuperseded};

/// Unless configured: the deadline of a clip is this many times the average time of a clip.
const TIMES_AVERAGE: f64 = 10.0;
/// Unless configured: the shortest deadline. Other programs may slow down a quick generator.
const SHORTEST_DEADLINE: Duration = Duration::from_secs(30);
/// Unless configured: the deadline before any clip was made.
const FIRST_DEADLINE: Duration = Duration::from_secs(600);

/// How often clips are made, whether newer conditions cancel one, and how long one may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What happens to a clip when newer conditions arrive while it is made.
    pub when_superseded: WhenSuperseded,
    /// Shortest time from the start of one clip to that of the next.
    pub min_interval: Duration,
    /// Longest time for a clip; `None`: it follows from the average.
    pub clip_deadline: Option<Duration>,
}

impl Pace {
    /// The configured pace.
    #[must_use]
    pub fn of(config: &GeneratorConfig) -> Self {
        Self {
            when_superseded: config.when_superseded,
            min_interval: Duration::from_secs_f64(config.min_interval_s),
            clip_deadline: config.clip_deadline_s.map(Duration::from_secs_f64),
        }
    }

    /// How long a clip may take. `average_s` is the average time of a clip in seconds, 0 before the
    /// first.
    #[must_use]
    pub fn deadline(&self, average_s: f64) -> Duration {
        let derived = if average_s > 0.0 {
            let derived = Duration::try_from_secs_f64(TIMES_AVERAGE * average_s);
            derived.unwrap_or(FIRST_DEADLINE).max(SHORTEST_DEADLINE)
        } else {
            FIRST_DEADLINE
        };
        self.clip_deadline.unwrap_or(derived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_as_configured_or_follows_from_the_average() {
        let pace = |clip_deadline| Pace {
            when_superseded: WhenSuperseded::Finish,
            min_interval: Duration::ZERO,
            clip_deadline,
        };
        let seconds = |average_s| pace(None).deadline(average_s).as_secs();
        assert_eq!([0.0, 0.1, 5.0, f64::MAX].map(seconds), [600, 30, 50, 600]);
        let configured = Duration::from_secs(2);
        assert_eq!(pace(Some(configured)).deadline(5.0), configured);
    }
}
