//! Room in the recorder's queue, in bytes.
//!
//! **When full**, a message is neither recorded nor acknowledged, so its adapter sends it again. A
//! replay waits for room instead.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that may wait to be written.
pub const QUEUE_BYTES: usize = 256 << 20;

/// Bytes that may still be queued.
#[derive(Default)]
pub(super) struct Room {
    /// Bytes in the queue; `None` once nothing more will be written.
    taken: Mutex<Option<usize>>,
    given_back: Condvar,
}

impl Room {
    /// An empty queue.
    pub(super) fn open() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(Some(0)), given_back: Condvar::new() })
    }

    /// Takes room for an item, and waits for room if `wait` is set. Returns false when there is
    /// none.
    pub(super) fn take(&self, n_byte: usize, wait: bool) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *taken {
                None => return false,
                // An empty queue takes any item, so that no item is too large to be recorded.
                Some(bytes) if bytes == 0 || bytes + n_byte <= QUEUE_BYTES => {
                    *taken = Some(bytes + n_byte);
                    return true;
                }
                Some(_) if !wait => return false,
                Some(_) => {
                    taken = self.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Gives back the room of an item that was written.
    pub(super) fn give_back(&self, n_byte: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.map(|bytes| bytes.saturating_sub(n_byte));
        self.given_back.notify_all();
    }

    /// Marks the end of writing: from now on no caller gets room or waits for it.
    pub(super) fn close(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.given_back.notify_all();
    }
}
