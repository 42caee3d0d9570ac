//! The signal thread: takes happenings off a ring, in order, and feeds the session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use super::{checkpoint::Progress, happening::Happening, session::Session};
use crate::{clock::monotonic_ns, failpoint, product::Product, queue::ring};

/// Happenings that may wait for the signal thread: a minute at a TR of 1 s, and room for commands.
const RING: usize = 64 + COMMAND_ROOM;

/// Places of the ring that only commands use, so that an operator need not wait for the model.
pub const COMMAND_ROOM: usize = 32;

/// The writing end of the ring: a happening, and the time at which it was received. Dropping it
/// ends the thread once the ring is empty.
pub type Happenings = ring::Writer<(Happening, u64)>;

/// What a restart left to do: nothing, for a new session.
#[derive(Default)]
pub struct Left {
    /// Happenings that were recorded and not processed, in order.
    pub backlog: Vec<Happening>,
    /// The runs of those that were processed.
    pub(crate) progress: Progress,
}

/// Starts the thread, which hands the session's products to `deliver`, and now and then a
/// checkpoint with the time of its last message to `checkpoint`. It first processes what a restart
/// left. Once `is_late` is set, happenings are dropped: they are recorded, and a
/// restart processes them. The thread returns the number of lost volumes.
///
/// # Errors
///
/// Fails when the system cannot start a thread.
pub fn start(
    mut session: Session,
    left: Left,
    is_late: Arc<AtomicBool>,
    mut deliver: impl FnMut(Product) + Send + 'static,
    checkpoint: impl Fn(u64, Vec<u8>) + Send + 'static,
    guard: impl Send + 'static,
) -> std::io::Result<(Happenings, JoinHandle<u32>)> {
    ring::start("signal", RING, move |happenings| {
        // Dropped last, also by a panic: it tells the supervisor that the thread has ended.
        let _guard = guard;
        let Left { backlog, mut progress } = left;
        let now_ns = monotonic_ns();
        let backlog = backlog.into_iter().map(|happening| (happening, now_ns, false));
        let happenings = happenings.map(|(happening, received_ns)| (happening, received_ns, true));
        let mut n_dropped = 0_u32;
        for (happening, received_ns, is_live) in backlog.chain(happenings) {
            if is_late.load(Ordering::Acquire) {
                n_dropped += 1;
                continue;
            }
            failpoint::point("signal");
            let is_whole = progress.note(&happening, received_ns);
            session.handle(happening, received_ns, &mut deliver);
            // The backlog has other times in the recording than here.
            if is_live
                && is_whole
                && let Some((at_ns, state)) = progress.due(&session)
            {
                checkpoint(at_ns, state);
            }
        }
        if n_dropped > 0 {
            tracing::warn!(
                n_dropped,
                "volumes were not decoded before the end; a restart with the same recording \
                 decodes them"
            );
        }
        session.n_lost()
    })
}
