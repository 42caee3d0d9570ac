//! How long a finished or stopped run waits for the daemon, and what for.

use std::time::{Duration, Instant};

use corticast_wire::{heartbeat::SILENCE, text::count};

use super::{outbox::Outbox, window::RESEND_AFTER};

/// How long a stopped run waits for its last acknowledgements from a silent daemon, and from one
/// that is alive.
const STOP_WITHIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];
/// How many times longer than for a silent daemon a finished run waits for one that is alive.
pub(super) const ALIVE_FACTOR: u32 = 10;

/// Whether a run that got its last volume at `over` has waited long enough.
pub(super) fn gives_up(
    outbox: &Outbox,
    over: Instant,
    is_stopping: bool,
    patience: Duration,
) -> bool {
    if is_stopping && over.elapsed() > stop_within(outbox) {
        return true;
    }
    let since = |last: Option<Instant>| last.map_or(over, |last| last.max(over)).elapsed();
    // Losing `end` loses no volume: the daemon notices that the adapter has left.
    let end_only = outbox.waits_for_end_only() && over.elapsed() > 2 * RESEND_AFTER;
    match outbox.is_silent(Instant::now()) {
        true if end_only => since(outbox.heard_at()) > SILENCE || over.elapsed() > patience,
        true => since(outbox.heard_at()) > patience,
        false if end_only => since(outbox.progressed()) > patience,
        false => since(outbox.progressed()) > patience.saturating_mul(ALIVE_FACTOR),
    }
}

/// Tells what a run that was stopped at `over` still waits for.
pub(super) fn tell(outbox: &Outbox, over: Instant) {
    let left = stop_within(outbox).saturating_sub(over.elapsed()).as_secs();
    match outbox.n_unacked() {
        0 => tracing::info!(
            "stopping: waiting for the daemon to acknowledge the end of the run, at most {left} s \
             more"
        ),
        n => tracing::info!(
            "stopping: waiting for the daemon to acknowledge {}, at most {left} s more",
            count(n, "volume")
        ),
    }
}

fn stop_within(outbox: &Outbox) -> Duration {
    STOP_WITHIN[usize::from(!outbox.is_silent(Instant::now()))]
}
