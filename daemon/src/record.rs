//! The recorder: a thread that writes the session's recording and says when it is safe.
//!
//! A volume is acknowledged once the chunk that holds it was written and flushed (with
//! `durability = "fsync"`, synced). What waits for the recorder is bounded in bytes: when
//! [`QUEUE_BYTES`] wait, messages are not recorded and not acknowledged until there is room
//! again; their adapter keeps them and sends them again. Products are dropped first: a replay
//! makes them anew.
//!
//! When a write fails (disk full, gone, read-only) recording stops for good, with an alarm;
//! decoding goes on, nothing further is acknowledged, and adapters keep what they have. After
//! room was made, a restart with the same file takes the session up again.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
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
use mcap::{WriteOptions, Writer, records::MessageHeader};

use crate::{
    clock::ClockPair,
    config::RecordingConfig,
    intake::recorded::Recorded,
    metrics::Metrics,
    product::{Product, tensors::clip_to_safetensors},
    recording::{Recording, RecordingError, TOPICS},
    signal::happening::RunNumber,
};

/// Bytes that may wait to be written.
pub const QUEUE_BYTES: usize = 256 << 20;
/// Messages that may wait to be written.
const QUEUE_MESSAGES: usize = 1 << 15;
/// Volumes that are written before they are flushed and acknowledged together.
const BATCH: usize = 16;
/// Each chunk has a place in the index that is kept in memory until the end, so a volume should
/// not fill one alone. A flush ends a chunk early: a kill costs nothing that was acknowledged.
const CHUNK_BYTES: u64 = 1 << 20;
/// How long products may wait to be flushed.
const IDLE_FLUSH: Duration = Duration::from_millis(200);
/// How often a recording that is only flushed is synced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(3);

/// Gives the recorder a third of what the signal thread gets of a core that both want.
const NICENESS: i32 = 5;

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be created or written.
    #[error("cannot write the recording {path}: {reason}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There is a file, and it is not a recording that could be continued.
    #[error("{0}; give --record another name")]
    Existing(#[from] RecordingError),
    /// Another process writes it.
    #[error("{0} is being written by another process: stop it first, or choose another file")]
    InUse(PathBuf),
}

/// Keeps other processes of ours from writing the file as long as it is open.
fn lock(file: &File, path: &Path) -> Result<(), RecordError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(RecordError::InUse(path.to_owned())),
        // Not every file system can lock; recording goes on without.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// What of a session is recorded; the rest a replay makes anew.
#[derive(Clone, Copy, Debug)]
pub struct RecordedProducts {
    conditions: bool,
    clips: bool,
}

impl RecordedProducts {
    /// As configured.
    #[must_use]
    pub fn of(config: &RecordingConfig) -> Self {
        Self { conditions: config.conditions, clips: config.clips }
    }

    /// Whether a product is recorded.
    #[must_use]
    pub fn includes(self, product: &Product) -> bool {
        match product {
            Product::Conditions(_) => self.conditions,
            Product::Clip(_) => self.clips,
            _ => true,
        }
    }
}

/// A product as it stands in a recording: tensors as a safetensors file, the rest as JSON.
#[must_use]
pub fn to_recorded(product: &Product) -> Bytes {
    match product {
        Product::Conditions(report) => report.tensors.clone(),
        Product::Clip(report) => clip_to_safetensors(report),
        _ => product.to_json().into(),
    }
}

/// Whom to tell that a message is safe.
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

/// A recording that is being written.
pub struct RecordingFile {
    writer: Writer<BufWriter<File>>,
    /// The number of each topic's channel.
    channels: Vec<(&'static str, u16)>,
    /// The same file, to sync it.
    file: File,
    path: PathBuf,
    sequence: u32,
}

impl RecordingFile {
    /// Starts a recording. A file that exists is continued: its entries are copied into a new
    /// file, up to where it was cut, which then takes its place. `each` sees them.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written, or exists and is no recording.
    pub fn open(
        path: &Path,
        each: impl FnMut(&crate::recording::Entry),
    ) -> Result<Self, RecordError> {
        let is_new = std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
        if is_new {
            return Self::create(path);
        }
        let aside = path.with_extension("mcap.resuming");
        let (mut copy, cut) = Self::copy(path, &aside, each)?;
        if let Some(cut) = cut {
            tracing::warn!(
                path = %path.display(), reason = cut,
                "the recording was cut; everything before the cut is kept"
            );
        }
        copy.flush(true)?;
        std::fs::rename(&aside, path).map_err(|error| copy.failed(&error))?;
        copy.path = path.to_owned();
        Ok(copy)
    }

    /// Copies the entries of a recording into a new one, up to where it was cut. `each` sees
    /// them. Gives the copy, to go on with, and why the recording ended early if it did.
    ///
    /// # Errors
    ///
    /// Fails when `from` is no recording or is being written, or `to` cannot be written.
    pub fn copy(
        from: &Path,
        to: &Path,
        mut each: impl FnMut(&crate::recording::Entry),
    ) -> Result<(Self, Option<String>), RecordError> {
        let mut old = Recording::open(from)?;
        let _not_written_meanwhile = File::open(from)
            .map(|file| lock(&file, from).map(|()| file))
            .map_err(|source| RecordingError::Open { path: from.to_owned(), source })??;
        let mut copy = Self::create(to)?;
        for entry in &mut old {
            each(&entry);
            let topic = TOPICS.iter().map(|(name, _)| *name).find(|name| *name == entry.topic);
            if let Some(topic) = topic {
                copy.write(topic, entry.wall_ns, &entry.data)?;
            }
        }
        Ok((copy, old.cut().map(str::to_owned)))
    }

    fn create(path: &Path) -> Result<Self, RecordError> {
        let failed = |error: &dyn std::error::Error| RecordError::Write {
            path: path.to_owned(),
            reason: with_causes(error),
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(|error| failed(&error))?;
        // Emptied only once it is ours.
        lock(&file, path)?;
        file.set_len(0).map_err(|error| failed(&error))?;
        let again = file.try_clone().map_err(|error| failed(&error))?;
        let mut writer = WriteOptions::new()
            .profile("corticast")
            .library(concat!("corticast ", env!("CARGO_PKG_VERSION")))
            .compression(Some(mcap::Compression::Zstd))
            .compression_level(1)
            .chunk_size(Some(CHUNK_BYTES))
            // A chunk is written in one piece, never as a header that is filled in later.
            .disable_seeking(true)
            .create(BufWriter::with_capacity(1 << 20, file))
            .map_err(|error| failed(&error))?;
        let channels = TOPICS.map(|(topic, encoding)| {
            writer.add_channel(0, topic, encoding, &Default::default()).map(|id| (topic, id))
        });
        let channels = channels.into_iter().collect::<Result<_, _>>().map_err(|e| failed(&e))?;
        Ok(Self { writer, channels, file: again, path: path.to_owned(), sequence: 0 })
    }

    fn failed(&self, error: &dyn std::error::Error) -> RecordError {
        RecordError::Write { path: self.path.clone(), reason: with_causes(error) }
    }

    /// Adds an entry. It is safe after [`RecordingFile::flush`].
    ///
    /// # Errors
    ///
    /// Fails when the disk does. The recording cannot be continued then.
    pub fn write(
        &mut self,
        topic: &'static str,
        wall_ns: u64,
        data: &[u8],
    ) -> Result<(), RecordError> {
        let channel = self.channels.iter().find(|(name, _)| *name == topic);
        let (_, channel_id) = *channel.expect("topics come from the list");
        self.sequence = self.sequence.wrapping_add(1);
        let header = MessageHeader {
            channel_id,
            sequence: self.sequence,
            log_time: wall_ns,
            publish_time: wall_ns,
        };
        let written = self.writer.write_to_known_channel(&header, data);
        written.map_err(|error| self.failed(&error))
    }

    /// Hands everything to the operating system, and with `sync` to the disk.
    ///
    /// # Errors
    ///
    /// Fails when the disk does.
    pub fn flush(&mut self, sync: bool) -> Result<(), RecordError> {
        self.writer.flush().map_err(|error| self.failed(&error))?;
        if sync {
            self.file.sync_data().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Writes the summary and closes the file.
    ///
    /// # Errors
    ///
    /// Fails when the disk does.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.writer.finish().map_err(|error| self.failed(&error))?;
        let file = &mut self.file;
        file.flush().and_then(|()| file.sync_all()).map_err(|error| self.failed(&error))
    }
}

/// What went wrong, and why: the writer's own message does not say that the disk is full.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Bytes that may still be queued.
#[derive(Default)]
struct Room {
    /// Bytes that are queued; `None` once nothing will be written any more.
    taken: Mutex<Option<usize>>,
    given_back: Condvar,
}

impl Room {
    fn open() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(Some(0)), given_back: Condvar::new() })
    }

    /// Takes room for an item, waiting for it if told to. False when there is none.
    fn take(&self, n_byte: usize, wait: bool) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *taken {
                None => return false,
                // An empty queue takes whatever comes, so that no item is too large for ever.
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

    fn give_back(&self, n_byte: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.map(|bytes| bytes.saturating_sub(n_byte));
        self.given_back.notify_all();
    }

    fn close(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.given_back.notify_all();
    }
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
            // Where cores are few, a result is not to wait until a volume is compressed. On
            // Linux this is the thread's alone; where it cannot be had, nothing is lost.
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
        self.push(crate::recording::WIRE, received_ns, packed, ticket)
    }

    /// As [`Recorder::message`], but waits for room: for a replay, which nobody waits for.
    /// False once recording has failed.
    pub fn message_blocking(&self, received_ns: u64, packed: Bytes) -> bool {
        if !self.room.take(packed.len(), true) {
            return false;
        }
        let wall_ns = self.wall_ns(received_ns);
        self.metrics.recording_bytes.increment(packed.len() as u64);
        let item = Item { topic: crate::recording::WIRE, wall_ns, data: packed, ticket: None };
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
            // Nobody may wait for room that will never come.
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
                has_message |= topic == crate::recording::WIRE;
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
        if let Some(free) = crate::disk::free_bytes(&file.path) {
            self.metrics.disk_free.set(free as f64);
        }
    }
}
