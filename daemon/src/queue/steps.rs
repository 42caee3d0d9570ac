//! Where a thread that uses a queue can be interrupted. Outside of unit tests these are nothing
//! but what they say; in unit tests `interleave` tries the orders of the steps of two threads.

use std::thread::Thread;

/// Stands before every access to what two threads share.
#[inline]
pub(super) fn step() {
    #[cfg(test)]
    super::interleave::step();
}

/// Waits until another thread wakes this one.
pub(super) fn park() {
    #[cfg(test)]
    if super::interleave::park() {
        return;
    }
    std::thread::park();
}

/// Wakes a thread.
pub(super) fn unpark(thread: &Thread) {
    #[cfg(test)]
    super::interleave::unpark(thread);
    thread.unpark();
}
