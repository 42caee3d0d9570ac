//! When clips are made.

use std::time::Duration;

use crate::config::{GeneratorConfig, generator::WhenSuperseded};

/// When clips are made.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What becomes of a clip when newer conditions come while it is made.
    pub when_superseded: WhenSuperseded,
    /// Shortest time from the start of one clip to that of the next.
    pub min_interval: Duration,
}

impl Pace {
    /// As configured.
    #[must_use]
    pub fn of(config: &GeneratorConfig) -> Self {
        Self {
            when_superseded: config.when_superseded,
            min_interval: Duration::from_secs_f64(config.min_interval_s),
        }
    }
}
