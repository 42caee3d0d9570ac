//! A mailbox for one item, in which the newest wins.
//!
//! The generator takes as long as it needs; the next item it takes is always the newest.
//!
//! **When full** a new item replaces the waiting one, which is counted. The writer never waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossbeam::queue::ArrayQueue;
use metrics::Counter;
use tokio::sync::Notify;

use super::steps::step;

/// The end that never waits. The mailbox is closed when all of them are gone.
pub struct Mailbox<T>(Arc<Shared<T>>);

/// The end that waits for the newest item.
pub struct Newest<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// The item, and how many it replaced.
    place: ArrayQueue<(T, u32)>,
    wake: Notify,
    is_closed: AtomicBool,
    superseded: Counter,
    /// Items that each arrive when the item before is taken.
    #[cfg(test)]
    next: std::sync::Mutex<std::collections::VecDeque<T>>,
}

/// A mailbox; `superseded` counts the items that newer ones replaced.
#[must_use]
pub fn latest<T>(superseded: Counter) -> (Mailbox<T>, Newest<T>) {
    let shared = Arc::new(Shared {
        place: ArrayQueue::new(1),
        wake: Notify::new(),
        is_closed: AtomicBool::new(false),
        superseded,
        #[cfg(test)]
        next: Default::default(),
    });
    (Mailbox(Arc::clone(&shared)), Newest(shared))
}

impl<T> Mailbox<T> {
    /// Puts an item into the mailbox; replaces the waiting item, if any.
    pub fn put(&self, item: T) {
        let mut item = (item, 0);
        loop {
            step();
            // The number goes with the item: the reader may take it in any moment.
            if let Some((_, n_before)) = self.0.place.pop() {
                item.1 += n_before + 1;
                self.0.superseded.increment(1);
            }
            step();
            match self.0.place.push(item) {
                Ok(()) => break,
                // Another writer was faster.
                Err(back) => item = back,
            }
        }
        step();
        self.0.wake.notify_one();
    }
}

#[cfg(test)]
impl<T> Mailbox<T> {
    /// Puts an item as soon as the one before it is taken, so that it is waiting while that one
    /// is processed, however busy the machine is.
    pub(crate) fn put_when_taken(&self, item: T) {
        self.0.next.lock().unwrap().push_back(item);
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        step();
        self.0.is_closed.store(true, Ordering::Release);
        step();
        self.0.wake.notify_one();
    }
}

impl<T> Newest<T> {
    /// The newest item, and how many it replaced; `None` once the mailbox is closed and empty.
    pub async fn take(&self) -> Option<(T, u32)> {
        loop {
            // Read the flag before the place, so that no item put before closing is missed.
            let is_closed = self.is_closed();
            step();
            if let Some(item) = self.0.place.pop() {
                #[cfg(test)]
                if let Some(next) = self.0.next.lock().unwrap().pop_front() {
                    drop(self.0.place.force_push((next, 0)));
                }
                return Some(item);
            }
            if is_closed {
                return None;
            }
            step();
            self.0.wake.notified().await;
        }
    }

    /// Waits until the mailbox is closed, but no longer than `limit`.
    pub async fn closed_or(&self, limit: Duration) {
        // A timeout is a normal end of the wait.
        tokio::time::timeout(limit, self.closed()).await.ok();
    }

    async fn closed(&self) {
        while !self.is_closed() {
            step();
            self.0.wake.notified().await;
        }
    }

    /// Whether a newer item is waiting.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.0.place.is_empty()
    }

    /// Whether all writers are gone; a waiting item can still be taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        step();
        self.0.is_closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::{super::interleave, *};

    #[tokio::test]
    async fn the_newest_item_is_taken_with_the_number_it_replaced() {
        let (mailbox, newest) = latest(Counter::noop());
        (1..=3).for_each(|item| mailbox.put(item));
        assert!(newest.is_waiting());
        assert_eq!(newest.take().await, Some((3, 2)));
        assert!(!newest.is_waiting());
        mailbox.put(4);
        drop(mailbox);
        assert_eq!(newest.take().await, Some((4, 0)));
        assert_eq!(newest.take().await, None);
    }

    proptest! {
        /// Every item put is taken or counted as superseded.
        #[test]
        fn nothing_is_lost_uncounted(takes in proptest::collection::vec(0_u32..5, 0..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mailbox, newest) = latest(Counter::noop());
            let mut put = 0;
            let mut seen = 0;
            for n in takes {
                (0..n).for_each(|_| mailbox.put(()));
                put += n;
                if newest.is_waiting() {
                    seen += 1 + runtime.block_on(newest.take()).unwrap().1;
                }
            }
            prop_assert_eq!(put, seen);
        }
    }

    /// In whatever order writer and reader take their steps, the newest item is taken, every item
    /// is taken or counted with the one that replaced it, and the reader ends.
    #[test]
    fn no_order_of_steps_loses_an_item_uncounted_or_a_wake_up() {
        for waits_for_the_end in [false, true] {
            let n_order = interleave::every_order(|run| {
                let seen = Arc::new(Mutex::new(Vec::new()));
                let (mailbox, newest) = latest(Counter::noop());
                run.thread(move || {
                    mailbox.put(1);
                    mailbox.put(2);
                });
                let seeing = Arc::clone(&seen);
                run.thread(move || {
                    if waits_for_the_end {
                        interleave::block_on(newest.closed());
                    }
                    while let Some(item) = interleave::block_on(newest.take()) {
                        seeing.lock().unwrap().push(item);
                    }
                });
                move || match seen.lock().unwrap().as_slice() {
                    [(2, 1)] => {}
                    [(1, 0), (2, 0)] if !waits_for_the_end => {}
                    other => panic!("{other:?}"),
                }
            });
            assert!(n_order > 100, "{n_order}");
        }
    }

    /// While the mailbox is open, nothing but the item itself wakes the reader.
    #[test]
    fn an_item_wakes_the_reader_in_every_order_of_steps() {
        interleave::every_order(|run| {
            let (mailbox, newest) = latest(Counter::noop());
            let mailbox = Arc::new(mailbox);
            let putting = Arc::clone(&mailbox);
            run.thread(move || putting.put(1));
            run.thread(move || assert_eq!(interleave::block_on(newest.take()), Some((1, 0))));
            move || drop(mailbox)
        });
    }
}
