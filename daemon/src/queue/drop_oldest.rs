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

use super::steps::step;

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
        step();
        if self.0.items.force_push(item).is_some() {
            self.0.dropped.increment(1);
        }
        step();
        self.0.wake.notify_one();
    }
}

impl<T> Drop for Feeder<T> {
    fn drop(&mut self) {
        step();
        self.0.is_closed.store(true, Ordering::Release);
        step();
        self.0.wake.notify_one();
    }
}

impl<T> Drain<T> {
    /// The next item; `None` once the feeder is gone and the queue is empty.
    pub async fn next(&self) -> Option<T> {
        loop {
            // Read the flag before the queue, so that no item pushed before closing is missed.
            step();
            let is_closed = self.0.is_closed.load(Ordering::Acquire);
            step();
            if let Some(item) = self.0.items.pop() {
                return Some(item);
            }
            if is_closed {
                return None;
            }
            step();
            self.0.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicU64};

    use super::{super::interleave, *};

    #[tokio::test]
    async fn a_full_queue_drops_its_oldest_and_ends_when_its_feeder_does() {
        let (feeder, drain) = drop_oldest(2, Counter::noop());
        (1..=3).for_each(|item| feeder.push(item));
        drop(feeder);
        assert_eq!(drain.next().await, Some(2));
        assert_eq!(drain.next().await, Some(3));
        assert_eq!(drain.next().await, None);
    }

    /// In whatever order feeder and drain take their steps, each item arrives in order or is
    /// counted as dropped, the last one arrives, and the drain ends.
    #[test]
    fn no_order_of_steps_loses_an_item_uncounted_or_a_wake_up() {
        for capacity in [1, 2] {
            let n_order = interleave::every_order(|run| {
                let dropped = Arc::new(AtomicU64::new(0));
                let seen = Arc::new(Mutex::new(Vec::new()));
                let (feeder, drain) =
                    drop_oldest(capacity, Counter::from_arc(Arc::clone(&dropped)));
                run.thread(move || {
                    feeder.push(1);
                    feeder.push(2);
                });
                let seeing = Arc::clone(&seen);
                run.thread(move || {
                    while let Some(item) = interleave::block_on(drain.next()) {
                        seeing.lock().unwrap().push(item);
                    }
                });
                move || match (seen.lock().unwrap().as_slice(), dropped.load(Ordering::Relaxed)) {
                    ([1, 2], 0) => {}
                    ([2], 1) => assert_eq!(capacity, 1),
                    other => panic!("{other:?}"),
                }
            });
            assert!(n_order > 100, "{n_order}");
        }
    }

    /// While the feeder lives, nothing but the item itself wakes the drain.
    #[test]
    fn an_item_wakes_the_drain_in_every_order_of_steps() {
        interleave::every_order(|run| {
            let (feeder, drain) = drop_oldest(1, Counter::noop());
            let feeder = Arc::new(feeder);
            let feeding = Arc::clone(&feeder);
            run.thread(move || feeding.push(1));
            run.thread(move || assert_eq!(interleave::block_on(drain.next()), Some(1)));
            move || drop(feeder)
        });
    }
}
