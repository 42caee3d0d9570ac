//! The recorder: a thread that writes the session's recording and says when it is safe.
//!
//! A volume is acknowledged once the chunk that holds it was written and flushed (with
//! `durability = "fsync"`, synced). The queue is bounded in bytes, see the file `room.rs`: while it
//! is full, messages are neither recorded nor acknowledged, so their adapter sends them again.
//! Products are dropped first: a replay makes them anew.
//!
//! When a write fails (disk full, gone, read-only) recording stops for good, with an alarm;
//! decoding goes on, nothing further is acknowledged, and adapters keep what they have. When there
//! is room again, a restart with the same file continues the session.

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
/// Volumes that are written before they are flushed and acknowledged together.
const BATCH: usize = 16;
/// How long products may wait to be flushed.
const IDLE_FLUSH: Duration = Duration::from_millis(200);
/// How often a recording that is only flushed is synced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(3);

/// Under contention the recorder gets about a third of the signal thread's CPU share.
const NICENESS: i32 = 5;

/// Which adapter to tell that a message is safe, and how.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Who sent it.
    pub peer: PeerId,
    /// How it was written.
    pub encoding: Encoding,
    /// Its run.
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

/// Hands things to the recorder's thread.
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
    /// Starts the recorder's thread. `safe` is called from it for every message that is safe;
    /// it may block for a moment.
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
            // Where cores are few, a result should not wait until a volume is compressed. On
            // Linux the priority is that of the thread alone; without it recording still works.
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

    /// Records a message from an adapter, received at `received_ns`. False when there is no
    /// room: it is not recorded and will not be acknowledged.
    #[must_use]
    pub fn message(&self, received_ns: u64, packed: Bytes, ticket: Option<Ticket>) -> bool {
        self.push(WIRE, received_ns, packed, ticket)
    }

    /// As [`Recorder::message`], but waits for room: for a replay, which nobody waits for.
    /// False once recording has failed.
    pub fn message_blocking(&self, received_ns: u64, packed: Bytes) -> bool {
        if !self.room.take(packed.len(), true) {
            return false;
        }
        let wall_ns = self.wall_ns(received_ns);
        self.metrics.recording_bytes.increment(packed.len() as u64);
        let item = Item { topic: WIRE, wall_ns, data: packed, ticket: None };
        self.items.send(item).is_ok()
    }

    /// Records a command or a product. Dropped when there is no room.
    pub fn note(&self, topic: &'static str, at_ns: u64, json: impl Into<Bytes>) {
        if !self.push(topic, at_ns, json.into(), None) {
            tracing::debug!(topic, "no room in the recorder's queue");
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
    /// Waits until everything is written. All [`Recorder`]s have to be dropped before.
    ///
    /// # Errors
    ///
    /// Fails when a write failed.
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
                "recording stopped: {error}; decoding goes on, nothing further is acknowledged; \
                 make room and restart the daemon with the same --record to take it up again"
            ));
            // Otherwise a replay would wait for room for ever.
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
