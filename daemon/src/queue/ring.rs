//! A ring between one asynchronous writer and one thread, in order and without a lock.
//!
//! The thread parks while the ring is empty and the writer unparks it, so no time is spent
//! polling.
//!
//! **When full** the writer gets its item back, and can wait until there is room again. Nothing is
//! dropped, and the thread waits only while the ring is empty.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, Thread},
};

use ringbuf::{
    HeapCons, HeapProd, HeapRb,
    traits::{Consumer, Producer, Split},
};
use tokio::sync::Semaphore;

use super::steps::{park, step, unpark};

/// The writing end. Dropping it ends the reader once the ring is empty.
pub struct Writer<T> {
    ring: HeapProd<T>,
    room: Arc<Semaphore>,
    is_closed: Arc<AtomicBool>,
    thread: Thread,
}

/// The reading end: an iterator over the items, which parks its thread while there are none.
pub struct Reader<T> {
    ring: HeapCons<T>,
    room: Arc<Semaphore>,
    is_closed: Arc<AtomicBool>,
}

/// Starts a thread that runs `work` with the reading end of a new ring.
///
/// # Errors
///
/// Fails when the operating system cannot start a thread.
pub fn start<T: Send + 'static, R: Send + 'static>(
    thread: &str,
    capacity: usize,
    work: impl FnOnce(Reader<T>) -> R + Send + 'static,
) -> std::io::Result<(Writer<T>, JoinHandle<R>)> {
    let (writing, reading) = HeapRb::<T>::new(capacity).split();
    let room = Arc::new(Semaphore::new(capacity));
    let is_closed = Arc::new(AtomicBool::new(false));
    let reader =
        Reader { ring: reading, room: Arc::clone(&room), is_closed: Arc::clone(&is_closed) };
    let handle = std::thread::Builder::new().name(thread.to_owned()).spawn(move || work(reader))?;
    let thread = handle.thread().clone();
    Ok((Writer { ring: writing, room, is_closed, thread }, handle))
}

impl<T> Writer<T> {
    /// How many items the ring can take now.
    #[must_use]
    pub fn n_free(&self) -> usize {
        self.room.available_permits()
    }

    /// Waits until the ring can take `n` items. Cancelling it changes nothing.
    pub async fn wait_for_room(&self, n: u32) {
        // The permits go back at once: there is one writer, so the room stays.
        step();
        drop(self.room.acquire_many(n).await);
    }

    /// Hands over an item.
    ///
    /// # Errors
    ///
    /// Gives the item back when the ring is full.
    pub fn try_push(&mut self, item: T) -> Result<(), T> {
        step();
        let Ok(permit) = self.room.try_acquire() else { return Err(item) };
        permit.forget();
        step();
        self.ring.try_push(item)?;
        step();
        unpark(&self.thread);
        Ok(())
    }

    /// Hands over an item; waits while the ring is full. Not for the receive task, which must not
    /// wait for a thread that may have died.
    #[cfg(test)]
    async fn push(&mut self, item: T) {
        self.wait_for_room(1).await;
        if self.try_push(item).is_err() {
            tracing::error!("the ring was full although it had room");
        }
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        step();
        self.is_closed.store(true, Ordering::Release);
        step();
        unpark(&self.thread);
    }
}

impl<T> Iterator for Reader<T> {
    type Item = T;

    /// The oldest item; `None` once the writer is gone and the ring is empty.
    fn next(&mut self) -> Option<T> {
        loop {
            // Read the flag before the ring, so that no item pushed before closing is missed.
            step();
            let is_closed = self.is_closed.load(Ordering::Acquire);
            step();
            match self.ring.try_pop() {
                Some(item) => {
                    step();
                    self.room.add_permits(1);
                    return Some(item);
                }
                None if is_closed => return None,
                None => park(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::{super::interleave, *};

    #[tokio::test(flavor = "multi_thread")]
    async fn all_items_arrive_in_order_through_a_ring_that_is_too_small_for_them() {
        let (mut writer, thread) =
            start("reader", 2, |reader: Reader<u32>| reader.collect::<Vec<_>>()).unwrap();
        for item in 0..100 {
            writer.push(item).await;
        }
        drop(writer);
        let items = tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    /// In whatever order writer and reader take their steps, every item arrives, in order, and
    /// both end.
    #[test]
    fn no_order_of_steps_loses_an_item_or_a_wake_up() {
        for capacity in [1, 2] {
            let n_order = interleave::every_order(|run| {
                let seen = Arc::new(Mutex::new(Vec::new()));
                let (seeing, slot) = (Arc::clone(&seen), run.slot());
                let (mut writer, _thread) = start("reader", capacity, move |reader| {
                    slot.run(|| reader.for_each(|item| seeing.lock().unwrap().push(item)))
                })
                .unwrap();
                run.thread(move || {
                    for item in [1, 2] {
                        interleave::block_on(writer.push(item));
                    }
                });
                move || assert_eq!(*seen.lock().unwrap(), [1, 2])
            });
            assert!(n_order > 100, "{n_order}");
        }
    }

    /// While the writer lives, nothing but the item itself wakes the reader.
    #[test]
    fn an_item_wakes_the_reader_in_every_order_of_steps() {
        interleave::every_order(|run| {
            let slot = run.slot();
            let (writer, thread) =
                start("reader", 1, |mut reader| slot.run(|| reader.next())).unwrap();
            let writer = Arc::new(Mutex::new(writer));
            let writing = Arc::clone(&writer);
            run.thread(move || writing.lock().unwrap().try_push(1).unwrap());
            move || {
                assert_eq!(thread.join().unwrap(), Some(Some(1)));
                drop(writer);
            }
        });
    }
}
