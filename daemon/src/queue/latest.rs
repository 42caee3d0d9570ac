//! A mailbox for one item, in which the newest wins.
//!
//! The generator takes as long as it needs; the next item it takes is always the newest.
//!
//! **When full** a new item replaces the waiting one, which is counted. The writer never waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crossbeam::queue::ArrayQueue;
use metrics::Counter;
use tokio::sync::Notify;

/// The end that never waits. The mailbox is closed when all of them are gone.
pub struct Mailbox<T>(Arc<Shared<T>>);

/// The end that waits for the newest item.
pub struct Newest<T>(Arc<Shared<T>>);

struct Shared<T> {
    place: ArrayQueue<T>,
    n_superseded: AtomicU32,
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
        n_superseded: AtomicU32::new(0),
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
        if self.0.place.force_push(item).is_some() {
            self.0.n_superseded.fetch_add(1, Ordering::Relaxed);
            self.0.superseded.increment(1);
        }
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
        self.0.is_closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

impl<T> Newest<T> {
    /// The newest item, and how many it replaced; `None` once the mailbox is closed and empty.
    pub async fn take(&self) -> Option<(T, u32)> {
        loop {
            // Read the flag before the place, so that no item put before closing is missed.
            let is_closed = self.is_closed();
            if let Some(item) = self.0.place.pop() {
                #[cfg(test)]
                if let Some(next) = self.0.next.lock().unwrap().pop_front() {
                    drop(self.0.place.force_push(next));
                }
                return Some((item, self.0.n_superseded.swap(0, Ordering::Relaxed)));
            }
            if is_closed {
                return None;
            }
            self.0.wake.notified().await;
        }
    }

    /// Waits until the mailbox is closed, but no longer than `limit`.
    pub async fn closed_or(&self, limit: Duration) {
        let closed = async {
            while !self.is_closed() {
                self.0.wake.notified().await;
            }
        };
        // A timeout is a normal end of the wait.
        tokio::time::timeout(limit, closed).await.ok();
    }

    /// Whether a newer item is waiting.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.0.place.is_empty()
    }

    /// Whether all writers are gone; a waiting item can still be taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
}
