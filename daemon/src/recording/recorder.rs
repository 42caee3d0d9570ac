//! The recorder: a thread that writes the session's recording and reports which messages are safe.
//!
//! A message or command is answered once the chunk that holds it was written and flushed (with
//! `durability = "fsync"`, synced). The queue is bounded (see `room.rs`).
//!
//! When a write fails (disk full, gone, read-only), recording stops for good and raises an alarm.
//! Decoding continues, no further volume is acknowledged, and adapters keep the unacknowledged
//! ones. Once the disk has room, a restart with the same file continues the session.

mod ticket;

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_wire::message::Durability;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

pub use self::ticket::{Answer, Ticket};
use super::{
    disk::free_bytes,
    file::{RecordError, RecordingFile},
    format::{CHECKPOINT, Content, WIRE, kind_of},
    room::{Kind, QUEUE_ENTRIES, Room},
};
use crate::{
    clock::{ClockPair, monotonic_ns},
    failpoint,
    intake::recorded::Recorded,
    metrics::Metrics,
    supervise::Guard,
};

/// Most entries that are written, flushed and acknowledged together.
const BATCH: usize = 16;
/// How long products may wait to be flushed.
const IDLE_FLUSH: Duration = Duration::from_millis(200);
/// How often a recording with durability `flush` is synced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(3);

/// Under contention the recorder gets about a third of the signal thread's CPU share.
const NICENESS: i32 = 5;

/// An entry to record.
pub struct Record {
    /// Its topic.
    pub topic: &'static str,
    /// When it happened, nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// What it holds.
    pub data: Content,
    /// Whether it finds room when the queue is nearly full.
    pub kind: Kind,
    /// What is owed once it is safe.
    pub ticket: Option<Ticket>,
}

struct Item {
    topic: &'static str,
    wall_ns: u64,
    data: Content,
    ticket: Option<Ticket>,
}

/// The recorder's thread waits for an entry.
const IDLE: u64 = 0;

/// Hands messages, commands and products to the recorder's thread.
#[derive(Clone)]
pub struct Recorder {
    items: Sender<Item>,
    room: Arc<Room>,
    is_in_order: Arc<AtomicBool>,
    busy_since_ns: Arc<AtomicU64>,
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
        guard: Guard,
    ) -> std::io::Result<(Self, RecorderThread)> {
        let (items, queue) = bounded(QUEUE_ENTRIES);
        let room = Room::open();
        let busy_since_ns = Arc::new(AtomicU64::new(IDLE));
        let work = Work {
            queue,
            room: Arc::clone(&room),
            busy_since_ns: Arc::clone(&busy_since_ns),
            durability,
            recorded,
            metrics: metrics.clone(),
            start_of_run: None,
            safe: Box::new(safe),
            alarm: Box::new(alarm),
        };
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            // With few cores, a result should not wait for the compression of a volume. On Linux
            // this sets the priority of this thread only. Recording works without it.
            rustix::process::setpriority_process(None, NICENESS).ok();
            // Dropped by a panic, too.
            let guard = guard;
            let result = work.run(file);
            // A disk that fails ends the recording, with an alarm, and not the session.
            guard.has_ended_well();
            result
        })?;
        let clocks = ClockPair::now();
        let is_in_order = Arc::new(AtomicBool::new(true));
        let recorder = Self { items, room, is_in_order, busy_since_ns, clocks, metrics };
        Ok((recorder, RecorderThread { thread }))
    }

    fn wall_ns(&self, monotonic_ns: u64) -> u64 {
        let since = i128::from(monotonic_ns) - i128::from(self.clocks.monotonic_ns);
        u64::try_from(i128::from(self.clocks.wall_ns) + since).unwrap_or(0)
    }

    /// Records an entry.
    ///
    /// # Errors
    ///
    /// Gives the ticket back when the queue is full or recording has failed: the entry is not
    /// recorded then.
    pub fn record(&self, record: Record) -> Result<(), Option<Ticket>> {
        self.push(record, false)
    }

    /// As [`Recorder::record`], but waits while the queue is full: for a replay, which is not bound
    /// to real time.
    ///
    /// # Errors
    ///
    /// Gives the ticket back when recording has failed.
    pub fn record_blocking(&self, record: Record) -> Result<(), Option<Ticket>> {
        self.push(record, true)
    }

    /// Whether a control message would be recorded now.
    #[must_use]
    pub fn has_room_for_control(&self) -> bool {
        self.room.has_room(1 << 16, Kind::Control)
    }

    /// From now on the order of the recording differs from that of processing: a checkpoint would
    /// say that something is recorded that is not.
    pub fn lose_order(&self) {
        self.is_in_order.store(false, Ordering::Release);
    }

    /// Records the state of the session after the message received at `at_ns`, unless the order
    /// was lost.
    pub fn checkpoint(&self, at_ns: u64, state: Vec<u8>) {
        if self.is_in_order.load(Ordering::Acquire) {
            let (topic, kind, data) = (CHECKPOINT, Kind::Product, state.into());
            // Without it a restart takes longer.
            self.record(Record { topic, at_ns, data, kind, ticket: None }).ok();
        }
    }

    /// How long the recorder's thread has been at one entry: a disk that hangs gives no error.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        match self.busy_since_ns.load(Ordering::Relaxed) {
            IDLE => Duration::ZERO,
            since => Duration::from_nanos(monotonic_ns().saturating_sub(since)),
        }
    }

    /// Whether recording has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.room.is_closed()
    }

    fn push(&self, record: Record, wait: bool) -> Result<(), Option<Ticket>> {
        let Record { topic, at_ns, data, kind, ticket } = record;
        let n_byte = data.n_byte();
        let mut item = Some(Item { topic, wall_ns: self.wall_ns(at_ns), data, ticket });
        let put = || {
            // Room for an entry is a place in the queue, unless the recorder has ended.
            if let Some(Err(error)) = item.take().map(|item| self.items.try_send(item)) {
                item = Some(error.into_inner());
            }
        };
        let has_room = self.room.take(n_byte, kind, wait, put);
        if let Some(item) = item {
            if has_room {
                self.room.give_back(n_byte);
            }
            return Err(item.ticket);
        }
        self.metrics.recording_bytes.increment(n_byte as u64);
        Ok(())
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
    /// Since when it has been at one entry, or [`IDLE`].
    busy_since_ns: Arc<AtomicU64>,
    durability: Durability,
    recorded: Recorded,
    metrics: Metrics,
    /// The start of the newest run, while no volume followed it.
    start_of_run: Option<(u64, Bytes)>,
    safe: Box<dyn FnMut(Ticket) + Send>,
    alarm: Box<dyn FnMut(String) + Send>,
}

impl Work {
    fn run(mut self, file: RecordingFile) -> Result<(), RecordError> {
        let mut tickets = Vec::new();
        let result = self.write_all(file, &mut tickets);
        if let Err(error) = &result {
            self.metrics.recording_errors.increment(1);
            (self.alarm)(format!(
                "recording stopped: {error}; decoding continues, but no further volume is \
                 acknowledged; make room on the disk and restart the daemon with the same --record \
                 to continue the session"
            ));
            // Otherwise a replay would wait for room forever.
            self.room.close();
            let waiting: Vec<_> = self.queue.try_iter().filter_map(|item| item.ticket).collect();
            for ticket in tickets.into_iter().chain(waiting) {
                if ticket.is_owed_unrecorded() {
                    (self.safe)(ticket.unrecorded());
                }
            }
        }
        result
    }

    /// Writes an entry. The start of a run is written three times, each in a chunk of its own and
    /// the last time behind the first volume: without it no volume of the run could be used, and
    /// damage must not cost more than the chunk that it is in. Ingest takes one of them.
    fn write(&mut self, file: &mut RecordingFile, item: &Item) -> Result<(), RecordError> {
        let (topic, wall_ns, data) = (item.topic, item.wall_ns, item.data.packed());
        file.write(topic, wall_ns, &data)?;
        match kind_of(&data).filter(|_| topic == WIRE) {
            Some(b"run") => {
                file.flush(false)?;
                file.write(topic, wall_ns, &data)?;
                file.flush(false)?;
                self.start_of_run = Some((wall_ns, data));
            }
            Some(b"vol") => {
                if let Some((wall_ns, start)) = self.start_of_run.take() {
                    file.flush(false)?;
                    file.write(topic, wall_ns, &start)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write_all(
        &mut self,
        mut file: RecordingFile,
        tickets: &mut Vec<Ticket>,
    ) -> Result<(), RecordError> {
        let mut synced = Instant::now();
        let mut is_dirty = false;
        loop {
            self.busy_since_ns.store(IDLE, Ordering::Relaxed);
            let received = self.queue.recv_timeout(IDLE_FLUSH);
            self.is_busy();
            let first = match received {
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
            let more = self.queue.try_iter().take(BATCH - 1);
            let mut batch = std::iter::once(first).chain(more).collect::<Vec<_>>();
            // Before anything is written: if a write fails, all of them are owed an answer.
            for Item { topic, ticket, .. } in &mut batch {
                has_message |= *topic == WIRE || ticket.is_some();
                tickets.extend(ticket.take());
            }
            for item in batch {
                failpoint::point("recorder");
                self.write(&mut file, &item)?;
                self.room.give_back(item.data.n_byte());
                self.is_busy();
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

    /// Notes that an entry begins.
    fn is_busy(&self) {
        self.busy_since_ns.store(monotonic_ns(), Ordering::Relaxed);
    }

    fn is_safe(&mut self, ticket: Ticket) {
        if let Some((number, index)) = ticket.volume {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            recorded.insert(number, index);
        }
        (self.safe)(ticket);
    }

    fn look_at_disk(&self, file: &RecordingFile) {
        if let Some(free) = free_bytes(file.path()) {
            self.metrics.disk_free.set(free as f64);
        }
    }
}
