//! The recorder: a thread that writes the session's recording and reports which messages are safe.
//!
//! A volume is acknowledged once the chunk that holds it was written and flushed (with
//! `durability = "fsync"`, synced). The queue is bounded in bytes (see `room.rs`): while it is
//! full, messages are neither recorded nor acknowledged, so their adapter sends them again.
//! Products are dropped first, because a replay can compute them again.
//!
//! When a write fails (disk full, gone, read-only), recording stops for good and raises an alarm.
//! Decoding continues, no further message is acknowledged, and adapters keep the unacknowledged
//! ones. Once the disk has room, a restart with the same file continues the session.

use std::{
    sync::{Arc, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_wire::{
    message::{Ack, Durability, Encoding},
    socket::PeerId,
};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{
    disk::free_bytes,
    file::{RecordError, RecordingFile},
    format::WIRE,
    room::Room,
};
use crate::{
    clock::ClockPair, intake::recorded::Recorded, metrics::Metrics, signal::happening::RunNumber,
};

/// Messages that may wait to be written.
const QUEUE_MESSAGES: usize = 1 << 15;
/// Most entries that are written, flushed and acknowledged together.
const BATCH: usize = 16;
/// How long products may wait to be flushed.
const IDLE_FLUSH: Duration = Duration::from_millis(200);
/// How often a recording with durability `flush` is synced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(3);

/// Under contention the recorder gets about a third of the signal thread's CPU share.
const NICENESS: i32 = 5;

/// The acknowledgement of a message, to be sent once the message is safe.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The adapter that sent the message.
    pub peer: PeerId,
    /// Encoding of the message's headers.
    pub encoding: Encoding,
    /// The run of the message.
    pub number: RunNumber,
    /// The acknowledgement.
    pub ack: Ack,
}

struct Item {
    topic: &'static str,
    wall_ns: u64,
    data: Bytes,
    ticket: Option<Ticket>,
}

/// Hands messages, commands and products to the recorder's thread.
#[derive(Clone)]
pub struct Recorder {
    items: Sender<Item>,
    room: Arc<Room>,
    clocks: ClockPair,
    metrics: Metrics,
}

/// The recorder's thread.
pub struct RecorderThread {
    thread: JoinHandle<Result<(), RecordError>>,
}

impl Recorder {
    /// Starts the recorder's thread. The thread calls `safe` for every message that is safe;
    /// `safe` may block briefly.
    ///
    /// # Errors
    ///
    /// Fails when no thread can be started.
    pub fn start(
        file: RecordingFile,
        durability: Durability,
        recorded: Recorded,
        metrics: Metrics,
        safe: impl FnMut(Ticket) + Send + 'static,
        alarm: impl FnMut(String) + Send + 'static,
    ) -> std::io::Result<(Self, RecorderThread)> {
        let (items, queue) = bounded(QUEUE_MESSAGES);
        let room = Room::open();
        let work = Work {
            queue,
            room: Arc::clone(&room),
            durability,
            recorded,
            metrics: metrics.clone(),
            safe: Box::new(safe),
            alarm: Box::new(alarm),
        };
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            // With few cores, a result should not wait for the compression of a volume. On Linux
            // this sets the priority of this thread only. Recording works without it.
            rustix::process::setpriority_process(None, NICENESS).ok();
            work.run(file)
        })?;
        let clocks = ClockPair::now();
        Ok((Self { items, room, clocks, metrics }, RecorderThread { thread }))
    }

    fn wall_ns(&self, monotonic_ns: u64) -> u64 {
        let since = i128::from(monotonic_ns) - i128::from(self.clocks.monotonic_ns);
        u64::try_from(i128::from(self.clocks.wall_ns) + since).unwrap_or(0)
    }

    /// Records a message from an adapter, received at `received_ns`. Returns false when the queue
    /// is full: the message is then neither recorded nor acknowledged.
    #[must_use]
    pub fn message(&self, received_ns: u64, packed: Bytes, ticket: Option<Ticket>) -> bool {
        self.push(WIRE, received_ns, packed, ticket)
    }

    /// As [`Recorder::message`], but waits while the queue is full: for a replay, which is not
    /// bound to real time. Returns false once recording has failed.
    pub fn message_blocking(&self, received_ns: u64, packed: Bytes) -> bool {
        if !self.room.take(packed.len(), true) {
            return false;
        }
        let wall_ns = self.wall_ns(received_ns);
        self.metrics.recording_bytes.increment(packed.len() as u64);
        let item = Item { topic: WIRE, wall_ns, data: packed, ticket: None };
        self.items.send(item).is_ok()
    }

    /// Records a command or a product, or drops it when the queue is full.
    pub fn note(&self, topic: &'static str, at_ns: u64, json: impl Into<Bytes>) {
        if !self.push(topic, at_ns, json.into(), None) {
            tracing::debug!(topic, "the recorder's queue is full; entry dropped");
        }
    }

    fn push(&self, topic: &'static str, at_ns: u64, data: Bytes, ticket: Option<Ticket>) -> bool {
        let n_byte = data.len();
        if !self.room.take(n_byte, false) {
            return false;
        }
        let item = Item { topic, wall_ns: self.wall_ns(at_ns), data, ticket };
        if self.items.try_send(item).is_err() {
            self.room.give_back(n_byte);
            return false;
        }
        self.metrics.recording_bytes.increment(n_byte as u64);
        true
    }
}

impl RecorderThread {
    /// Waits until everything is written. Drop all [`Recorder`]s first.
    ///
    /// # Errors
    ///
    /// Fails when a write has failed.
    pub fn join(self) -> Result<(), RecordError> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

struct Work {
    queue: Receiver<Item>,
    room: Arc<Room>,
    durability: Durability,
    recorded: Recorded,
    metrics: Metrics,
    safe: Box<dyn FnMut(Ticket) + Send>,
    alarm: Box<dyn FnMut(String) + Send>,
}

impl Work {
    fn run(mut self, file: RecordingFile) -> Result<(), RecordError> {
        let result = self.write_all(file);
        if let Err(error) = &result {
            self.metrics.recording_errors.increment(1);
            (self.alarm)(format!(
                "recording stopped: {error}; decoding continues, but no further volume is \
                 acknowledged; make room on the disk and restart the daemon with the same --record \
                 to continue the session"
            ));
            // Otherwise a replay would wait for room forever.
            self.room.close();
        }
        result
    }

    fn write_all(&mut self, mut file: RecordingFile) -> Result<(), RecordError> {
        let mut synced = Instant::now();
        let mut tickets = Vec::new();
        let mut is_dirty = false;
        loop {
            let first = match self.queue.recv_timeout(IDLE_FLUSH) {
                Ok(item) => item,
                Err(RecvTimeoutError::Timeout) => {
                    if is_dirty {
                        file.flush(false)?;
                        is_dirty = false;
                    }
                    self.look_at_disk(&file);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut has_message = false;
            let more = self.queue.try_iter().take(BATCH - 1).collect::<Vec<_>>();
            for Item { topic, wall_ns, data, ticket } in std::iter::once(first).chain(more) {
                file.write(topic, wall_ns, &data)?;
                self.room.give_back(data.len());
                has_message |= topic == WIRE;
                tickets.extend(ticket);
            }
            is_dirty = true;
            if has_message {
                let sync = self.durability == Durability::Fsync;
                file.flush(sync)?;
                is_dirty = false;
                for ticket in tickets.drain(..) {
                    self.is_safe(ticket);
                }
                if !sync && synced.elapsed() > SYNC_EVERY {
                    file.flush(true)?;
                    synced = Instant::now();
                    self.look_at_disk(&file);
                }
            }
        }
        file.finish()
    }

    fn is_safe(&mut self, ticket: Ticket) {
        if let Some(index) = ticket.ack.index {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            recorded.insert((ticket.number, TrIndex(index)));
        }
        (self.safe)(ticket);
    }

    fn look_at_disk(&self, file: &RecordingFile) {
        if let Some(free) = free_bytes(file.path()) {
            self.metrics.disk_free.set(free as f64);
        }
    }
}
