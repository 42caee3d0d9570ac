//! The daemon's two clocks: a monotonic one for latencies, a wall clock for people.
//!
//! `*_ns` are nanoseconds of the system's monotonic clock, which other processes on the same
//! machine can read too (`time.monotonic_ns()` in Python), so a client can measure the latency
//! from the daemon to itself.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Nanoseconds since 1970-01-01 UTC.
#[must_use]
pub fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The same instant on both clocks, for converting `*_ns` to dates. Changes on restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPair {
    /// Monotonic, nanoseconds.
    pub monotonic_ns: u64,
    /// Wall clock, nanoseconds since 1970-01-01 UTC.
    pub wall_ns: u64,
}

impl ClockPair {
    /// The present instant.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic_ns: monotonic_ns(), wall_ns: wall_ns() }
    }
}
