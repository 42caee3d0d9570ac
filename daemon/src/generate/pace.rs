//! Pacing of the generator.

use std::time::Duration;

use crate::config::{GeneratorConfig, generator::WhenSuperseded};

/// How often clips are made, and whether newer conditions cancel one.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What happens to a clip when newer conditions arrive while it is made.
    pub when_superseded: WhenSuperseded,
    /// Shortest time from the start of one clip to that of the next.
    pub min_interval: Duration,
}

impl Pace {
    /// The configured pace.
    #[must_use]
    pub fn of(config: &GeneratorConfig) -> Self {
        Self {
            when_superseded: config.when_superseded,
            min_interval: Duration::from_secs_f64(config.min_interval_s),
        }
    }
}
