//! The signal thread: takes happenings off a ring, in order, and feeds the session.

use std::thread::JoinHandle;

use super::{happening::Happening, session::Session};
use crate::{product::Product, queue::ring};

/// Happenings that may wait for the signal thread: a minute at a TR of 1 s.
const RING: usize = 64;

/// The writing end of the ring: a happening, and the time at which it was received. Dropping it
/// ends the thread once the ring is empty.
pub type Happenings = ring::Writer<(Happening, u64)>;

/// Starts the thread, which hands the session's products to `deliver`. The thread returns the
/// number of lost volumes.
///
/// # Errors
///
/// Fails when the system cannot start a thread.
pub fn start(
    mut session: Session,
    mut deliver: impl FnMut(Product) + Send + 'static,
) -> std::io::Result<(Happenings, JoinHandle<u32>)> {
    ring::start("signal", RING, move |happenings| {
        for (happening, received_ns) in happenings {
            session.handle(happening, received_ns, &mut deliver);
        }
        session.n_lost()
    })
}
