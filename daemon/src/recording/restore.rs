//! Continuing a session after a restart, from its recording.
//!
//! The recording is a log. Feeding its messages and commands through ingest and session rebuilds
//! the state of both. Windows whose results were recorded are not decoded again. What the daemon
//! had received and not processed when it ended is left over as a backlog: the signal thread
//! processes it as if it had just arrived, once the sockets are open.

mod lines;

use std::{
    path::{Path, PathBuf},
    sync::PoisonError,
};

use corticast_bold::time::TrIndex;
use corticast_wire::message::FromAdapter;
use serde_json::{Value, json};

use self::lines::{About, raw_score};
use super::{
    backlog::Backlog,
    belongs,
    compare::{difference, low_bits},
    fault::FaultKind,
    file::{RecordError, RecordingFile},
    format::{COMMAND, Entry, SESSION, WIRE},
    reader::Recording,
    seek::{self, Found},
    segments,
};
use crate::{
    clock::monotonic_ns,
    intake::{
        ingest::Ingest,
        recorded::{Recorded, SafeVolumes},
        run_book::RunBook,
    },
    product::results::ResultKey,
    signal::{
        checkpoint::{Checkpoint, Progress},
        happening::{Command, Event, Happening},
        session::Session,
        thread::Left,
    },
};

/// Key of a description: the results file that was asked for, and the one that is used.
const RESULTS_FILE: &str = "results_file";

/// A session read back from its recording.
pub struct Restored {
    /// The next segment of the recording, open for writing.
    pub file: RecordingFile,
    /// What was received and not processed.
    pub left: Left,
    /// What to tell the operator about the recording: each an alarm.
    pub alarms: Vec<String>,
    /// Whether the operator had paused decoding.
    pub is_paused: bool,
    /// Whether the operator had blanked feedback.
    pub is_blanked: bool,
    /// Number of the recording that is continued. `None` for a new one.
    pub number: Option<String>,
}

/// Opens the recording and continues the session in it. `result` is called with every recorded
/// result: its key, and its line of JSON.
///
/// # Errors
///
/// Fails when the file cannot be written, is not a recording, cannot be read to its end, or was
/// made with another model, mask or signal path. The recording is unchanged then.
pub fn restore(
    path: &Path,
    description: &Value,
    ingest: &mut Ingest,
    session: &mut Session,
    recorded: &Recorded,
    result: &mut dyn FnMut(ResultKey, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Restored> {
    let is_new = segments::of(path)?.is_empty();
    // Checked before a segment is created: another session's recording stays as it is.
    let first = if is_new { None } else { first_session(path)? };
    let before: Option<Value> = first.and_then(|entry| serde_json::from_slice(&entry.data).ok());
    for different in before.iter().flat_map(|before| low_bits(before, description)) {
        tracing::warn!("the recording was made with another {different}; last bits may differ");
    }
    if let Some(reason) = before.and_then(|before| difference(&before, description)) {
        anyhow::bail!(
            "{} was recorded {reason}; choose another file with --record or restore that setting",
            path.display()
        );
    }
    let (_, _, number) = belongs::separate(segments::of(path)?);
    let file = RecordingFile::open(path)?;
    let mut restoring = Restoring {
        ingest,
        session,
        recorded,
        backlog: Backlog::default(),
        processed: RunBook::default(),
        taken_up: None,
        n_volume: 0,
        is_paused: false,
        is_blanked: false,
    };
    let mut alarms = Vec::new();
    if !is_new {
        // When this fails, the new segment is removed with its first entry unwritten.
        alarms = restoring.read(path, file.number(), result)?;
    }
    let Restoring { backlog, processed, n_volume, is_paused, is_blanked, .. } = restoring;
    session.restored();
    ingest.take_up();
    let backlog = backlog.finish();
    if n_volume > 0 {
        let run = ingest.open_run().map(|run| run.name.to_string());
        tracing::info!(
            n_volume,
            open_run = run,
            n_left = backlog.len(),
            segment = file.number(),
            "the session continues from its recording"
        );
    }
    let left = Left { backlog, progress: Progress::new(processed) };
    Ok(Restored { file, left, alarms, is_paused, is_blanked, number })
}

/// A session that is being rebuilt.
struct Restoring<'a> {
    ingest: &'a mut Ingest,
    session: &'a mut Session,
    recorded: &'a Recorded,
    backlog: Backlog,
    /// The runs of the happenings that the session got.
    processed: RunBook,
    /// The times of the last message and command that the state of a checkpoint includes.
    taken_up: Option<(u64, Option<u64>)>,
    n_volume: u64,
    is_paused: bool,
    is_blanked: bool,
}

impl Restoring<'_> {
    /// Reads all segments before number `end`. Returns what to tell the operator.
    fn read(
        &mut self,
        path: &Path,
        end: u32,
        result: &mut dyn FnMut(ResultKey, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<String>> {
        self.ingest.begin_restoring();
        self.session.begin_restoring();
        let mut recording = match self.take_checkpoint(path, end)? {
            Some(start) => Recording::between(path, start, end)?,
            None => Recording::before(path, end)?,
        };
        for entry in &mut recording {
            self.entry(&entry, result)?;
        }
        recording.check_read().map_err(RecordError::Existing)?;
        let mut alarms = Vec::new();
        for fault in recording.faults().iter() {
            match fault.kind {
                FaultKind::Damaged { .. } => alarms.push(format!(
                    "{fault}; the entries in this part are lost, all others are used; the file is \
                     kept as it is"
                )),
                FaultKind::Cut { .. } => tracing::info!("{fault}; everything before it is used"),
                FaultKind::Foreign => alarms.push(fault.to_string()),
                FaultKind::Missing => alarms.push(format!("{fault}; what it holds is not used")),
                FaultKind::Io { .. } => {}
            }
        }
        Ok(alarms)
    }

    /// Takes up the newest checkpoint, if there is one that fits. Returns where to go on reading.
    fn take_checkpoint(&mut self, path: &Path, end: u32) -> anyhow::Result<Option<(u32, u64)>> {
        let found = seek::newest_checkpoint(path, end).map_err(RecordError::Existing)?;
        let Some(Found { state, start }) = found else { return Ok(None) };
        let Some(mut checkpoint) = Checkpoint::read(&state.data) else { return Ok(None) };
        let book = || Checkpoint::read(&state.data).map(|checkpoint| checkpoint.book);
        let (Some(processed), Some(safe)) = (book(), book()) else { return Ok(None) };
        if self.session.load(&mut checkpoint.session, &checkpoint.book).is_none() {
            return Ok(None);
        }
        let command_ns = checkpoint.last_command_before_ns.map(|before| {
            u64::try_from(i128::from(state.wall_ns) - i128::from(before)).unwrap_or(0)
        });
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = SafeVolumes::all_of(&safe);
        (self.is_paused, self.is_blanked) = (self.session.is_paused(), self.session.is_blanked());
        self.ingest.load(checkpoint.book);
        self.processed = processed;
        self.taken_up = Some((state.wall_ns, command_ns));
        tracing::info!(segment = start.0, byte = start.1, "the session is read from a checkpoint");
        Ok(Some(start))
    }

    /// Whether the state of a checkpoint includes this entry.
    fn is_taken_up(&self, entry: &Entry) -> bool {
        let Some((last_message_ns, last_command_ns)) = self.taken_up else { return false };
        match entry.topic.as_str() {
            WIRE => entry.wall_ns <= last_message_ns,
            COMMAND => last_command_ns.is_some_and(|last| entry.wall_ns <= last),
            _ => false,
        }
    }

    fn entry(
        &mut self,
        entry: &Entry,
        result: &mut dyn FnMut(ResultKey, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.is_taken_up(entry) {
            if let Some(Ok((FromAdapter::Volume(volume), _))) =
                entry.frames().map(|frames| FromAdapter::parse(&frames))
            {
                self.ingest.remember(&volume);
            }
            return Ok(());
        }
        if let Some(command) = entry.command() {
            match command {
                Command::Pause => self.is_paused = true,
                Command::Resume => self.is_paused = false,
                Command::Blank => self.is_blanked = true,
                Command::Unblank => self.is_blanked = false,
                _ => {}
            }
            for happening in self.ingest.command(command) {
                self.push(happening);
            }
        } else if let Some(frames) = entry.frames() {
            match FromAdapter::parse(&frames) {
                Ok((message, _)) => self.message(message),
                Err(error) => tracing::warn!("a recorded message is not used: {error}"),
            }
        } else {
            self.product(entry, result)?;
        }
        Ok(())
    }

    fn message(&mut self, message: FromAdapter) {
        let verdict = self.ingest.handle(message);
        for event in verdict.events {
            if let Event::Volume(number, volume) = &event {
                let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
                recorded.insert(*number, volume.header.index);
                self.n_volume += 1;
            }
            self.push(Happening::Event(event));
        }
    }

    /// Uses a recorded product as the proof that its volume was processed.
    fn product(
        &mut self,
        entry: &Entry,
        result: &mut dyn FnMut(ResultKey, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match entry.topic.as_str() {
            "concepts" => {
                let Some(key) = ResultKey::of_line(&entry.data) else { return Ok(()) };
                result(key.clone(), &entry.data)?;
                // Results of a volume come after the reports of all volumes before it.
                if let Some(before) = key.index.0.checked_sub(1) {
                    self.reported(&key.run, before);
                }
                self.session.was_published(key);
            }
            "feedback" => {
                let Some(key) = ResultKey::of_line(&entry.data) else { return Ok(()) };
                // A score comes after the reports of all volumes before it.
                if let Some(before) = key.index.0.checked_sub(1) {
                    self.reported(&key.run, before);
                }
                self.session.score_was_published(key, raw_score(&entry.data));
            }
            "volume" => {
                let about = About::read(&entry.data);
                if let Some(About { run, index: Some(index), .. }) = about {
                    self.reported(&run, index);
                }
            }
            "run" => {
                let about = About::read(&entry.data).filter(|about| about.has_ended());
                if let Some(number) = about.and_then(|about| self.ingest.number_of(&about.run)) {
                    let happenings = self.backlog.ended(number);
                    self.process(happenings);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reported(&mut self, run: &str, index: u32) {
        if let Some(number) = self.ingest.number_of(run) {
            let happenings = self.backlog.reported(number, TrIndex(index));
            self.process(happenings);
        }
    }

    fn push(&mut self, happening: Happening) {
        let oldest = self.backlog.push(happening);
        self.process(oldest);
    }

    fn process(&mut self, happenings: Vec<Happening>) {
        let received_ns = monotonic_ns();
        for happening in happenings {
            if let Happening::Event(event) = &happening {
                self.processed.note(event);
            }
            self.session.handle(happening, received_ns, &mut |_| {});
        }
    }
}

/// The results file that a recorded session uses, if it was asked to write to `asked`. `None` for
/// a new session.
///
/// # Errors
///
/// Fails when the recording cannot be read.
pub fn results_file(recording: &Path, asked: &Path) -> anyhow::Result<Option<PathBuf>> {
    if segments::of(recording)?.is_empty() {
        return Ok(None);
    }
    let first = first_session(recording)?;
    let session: Option<Value> = first.and_then(|entry| serde_json::from_slice(&entry.data).ok());
    let file = session.as_ref().and_then(|session| session.get(RESULTS_FILE));
    let text = |key: &str| file.and_then(|file| file.get(key)).and_then(Value::as_str);
    let is_asked = text("asked").is_some_and(|then| Path::new(then) == asked);
    Ok(text("used").filter(|_| is_asked).map(PathBuf::from))
}

/// The description of a session with the results file that it uses.
#[must_use]
pub fn with_results_file(mut description: Value, asked: &Path, used: &Path) -> Value {
    description[RESULTS_FILE] = json!({ "asked": asked, "used": used });
    description
}

/// The first description of the session in a recording. `None` when no segment has one.
fn first_session(path: &Path) -> Result<Option<Entry>, RecordError> {
    Ok(Recording::open(path)?.find(|entry| entry.topic == SESSION))
}
