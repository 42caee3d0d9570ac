//! The signal thread: takes what happened off a ring, in order, and feeds the session.
//!
//! The ring has one writer and one reader and no lock. The thread parks when it is empty and is
//! unparked by the writer: milliseconds are not spent polling. A full ring makes the writer
//! wait ([`Happenings::push`]), never the thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, Thread},
};

use ringbuf::{
    HeapProd, HeapRb,
    traits::{Consumer, Producer, Split},
};
use tokio::sync::Semaphore;

use super::Fanout;
use crate::session::{Happening, Session};

/// Happenings that may wait for the signal thread: a minute at a TR of 1 s.
const RING: usize = 64;

/// The writing end. Dropping it ends the thread once the ring is empty.
pub struct Happenings {
    ring: HeapProd<(Happening, u64)>,
    room: Arc<Semaphore>,
    is_closed: Arc<AtomicBool>,
    thread: Thread,
}

impl Happenings {
    /// Hands over what happened at `received_ns`; waits while the ring is full.
    pub async fn push(&mut self, happening: Happening, received_ns: u64) {
        // The semaphore is never closed, and counts the free places of the ring.
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
        }
        if self.ring.try_push((happening, received_ns)).is_err() {
            tracing::error!("the ring was full although it had room");
        }
        self.thread.unpark();
    }
}

impl Drop for Happenings {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Starts the thread. It ends with the number of volumes that were lost.
pub fn start(
    mut session: Session,
    fanout: Fanout,
) -> std::io::Result<(Happenings, JoinHandle<u32>)> {
    let (ring, mut waiting) = HeapRb::<(Happening, u64)>::new(RING).split();
    let room = Arc::new(Semaphore::new(RING));
    let is_closed = Arc::new(AtomicBool::new(false));
    let (given_back, closed) = (Arc::clone(&room), Arc::clone(&is_closed));
    let handle = std::thread::Builder::new().name("signal".to_owned()).spawn(move || {
        loop {
            // Closed is read before the ring, so that nothing pushed before it is missed.
            let is_closed = closed.load(Ordering::Acquire);
            match waiting.try_pop() {
                Some((happening, received_ns)) => {
                    given_back.add_permits(1);
                    session.handle(happening, received_ns, &mut |product| fanout.deliver(product));
                }
                None if is_closed => return session.n_lost(),
                None => std::thread::park(),
            }
        }
    })?;
    let thread = handle.thread().clone();
    Ok((Happenings { ring, room, is_closed, thread }, handle))
}
