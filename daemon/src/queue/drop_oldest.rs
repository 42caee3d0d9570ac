//! A queue between the session and one output.
//!
//! **When full** it drops its oldest item and counts it: an output that is too slow loses old
//! products, and neither the session nor the other outputs wait for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam::queue::ArrayQueue;
use metrics::Counter;
use tokio::sync::Notify;

/// The end that never waits.
pub struct Feeder<T>(Arc<Shared<T>>);

/// The end that waits for the next item.
pub struct Drain<T>(Arc<Shared<T>>);

struct Shared<T> {
    items: ArrayQueue<T>,
    wake: Notify,
    is_closed: AtomicBool,
    dropped: Counter,
}

/// A queue of `capacity` items; `dropped` counts the items that a newer one pushed out.
#[must_use]
pub fn drop_oldest<T>(capacity: usize, dropped: Counter) -> (Feeder<T>, Drain<T>) {
    let shared = Arc::new(Shared {
        items: ArrayQueue::new(capacity),
        wake: Notify::new(),
        is_closed: AtomicBool::new(false),
        dropped,
    });
    (Feeder(Arc::clone(&shared)), Drain(shared))
}

impl<T> Feeder<T> {
    /// Adds an item; drops the oldest if the queue is full.
    pub fn push(&self, item: T) {
        if self.0.items.force_push(item).is_some() {
            self.0.dropped.increment(1);
        }
        self.0.wake.notify_one();
    }
}

impl<T> Drop for Feeder<T> {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

impl<T> Drain<T> {
    /// The next item; `None` once the feeder is gone and the queue is empty.
    pub async fn next(&self) -> Option<T> {
        loop {
            // Read the flag before the queue, so that no item pushed before closing is missed.
            let is_closed = self.0.is_closed.load(Ordering::Acquire);
            if let Some(item) = self.0.items.pop() {
                return Some(item);
            }
            if is_closed {
                return None;
            }
            self.0.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_its_oldest_and_ends_when_its_feeder_does() {
        let (feeder, drain) = drop_oldest(2, Counter::noop());
        (1..=3).for_each(|item| feeder.push(item));
        drop(feeder);
        assert_eq!(drain.next().await, Some(2));
        assert_eq!(drain.next().await, Some(3));
        assert_eq!(drain.next().await, None);
    }
}
