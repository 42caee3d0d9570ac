//! Replay: a recorded session, a NIfTI file or a BIDS run through the same code as live.
//!
//! A recording is a log of accepted messages and commands. They go through [`Ingest`] and
//! [`Session`] in their recorded order, so every field of every result except `*_ns` is equal to
//! the bit. An image goes through its adapter, which makes the messages it would send to a daemon.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_images::source::ScannerAdapter;
use corticast_wire::message::{Durability, Encoding, End, FromAdapter, Mark, ToAdapter};

use super::{error::ReplayError, source::Source};
use crate::{
    clock::monotonic_ns,
    config::signal::ContentDuplicates,
    intake::{ingest::Ingest, recorded::Recorded, verdict::IngestError},
    plan::admission::Admission,
    product::Product,
    recording::{
        format::{COMMAND, Entry, ORDER, pack},
        reader::Recording,
    },
    signal::{
        happening::{Command, Event, Happening},
        plausible::time_off_s,
        session::Session,
    },
};

/// A volume that is due later than this after the start of its run has a wrong time.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Input of a session: a message from an adapter or a command.
pub enum Input {
    /// A message, as frames.
    Message(Vec<Bytes>),
    /// A command.
    Command(Command),
}

/// Feeds a session from files. See the module docs.
pub struct Player {
    ingest: Ingest,
    session: Session,
    /// 1 is real time, 0 as fast as possible.
    speed: f64,
    /// When the run started, for pacing.
    started: Option<(Instant, f64)>,
    repetition_time_s: f64,
    stop: Arc<AtomicBool>,
    /// Messages of runs whose start is missing in the recording.
    n_without_run: u32,
}

impl Player {
    /// A player for a fresh session.
    #[must_use]
    pub fn new(
        session: Session,
        admission: Admission,
        copies: ContentDuplicates,
        speed: f64,
    ) -> Self {
        let recorded = Recorded::default();
        let ingest = Ingest::new(admission, "replay".into(), Durability::None, copies, recorded);
        Self {
            ingest,
            session,
            speed,
            started: None,
            repetition_time_s: 1.0,
            stop: Arc::default(),
            n_without_run: 0,
        }
    }

    /// Ends the replay of a source early once `stop` is set.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The ingest and session, after the last source.
    #[must_use]
    pub fn into_parts(self) -> (Ingest, Session) {
        (self.ingest, self.session)
    }

    /// Replays one source. `log` gets each input before the session does, `out` each product.
    /// `progress` is called for each volume with the expected number of volumes, if known.
    ///
    /// # Errors
    ///
    /// Fails when the source cannot be read or its run is refused.
    pub fn play(
        &mut self,
        source: &Source,
        log: &mut dyn FnMut(&Input, u64),
        out: &mut dyn FnMut(Product),
        progress: &mut dyn FnMut(Option<u32>),
    ) -> Result<(), ReplayError> {
        match source.adapter()? {
            None => self.recording(&source.path, log, out, progress),
            Some(mut adapter) => self.adapter(&source.path, &mut *adapter, log, out, progress),
        }
    }

    /// Replays one entry of a recording. Returns whether it was an accepted volume.
    ///
    /// # Errors
    ///
    /// Returns the reason when a message is invalid or a run is refused.
    pub fn entry(
        &mut self,
        entry: &Entry,
        log: &mut dyn FnMut(&Input, u64),
        out: &mut dyn FnMut(Product),
    ) -> Result<bool, String> {
        if let Some(frames) = entry.frames() {
            if let Err(error) = FromAdapter::parse(&frames) {
                // A live daemon skips it, too. An older version may have accepted it.
                tracing::warn!("a recorded message is not used: {error}");
                return Ok(false);
            }
            return self.message(frames, log, out);
        }
        if entry.topic == COMMAND
            && let Some(command) = entry.command()
        {
            let now_ns = monotonic_ns();
            log(&Input::Command(command), now_ns);
            for happening in self.ingest.command(command) {
                self.session.handle(happening, now_ns, out);
            }
        }
        Ok(false)
    }

    fn recording(
        &mut self,
        path: &Path,
        log: &mut dyn FnMut(&Input, u64),
        out: &mut dyn FnMut(Product),
        progress: &mut dyn FnMut(Option<u32>),
    ) -> Result<(), ReplayError> {
        let mut recording = Recording::open(path)?;
        let mut n_out_of_order = 0;
        for entry in &mut recording {
            if self.is_stopped() {
                return Ok(());
            }
            n_out_of_order += u32::from(entry.topic == ORDER);
            let is_volume = self
                .entry(&entry, log, out)
                .map_err(|reason| ReplayError::Refused { path: path.to_owned(), reason })?;
            if is_volume {
                progress(None);
            }
        }
        recording.check_read()?;
        if n_out_of_order > 0 {
            tracing::warn!(
                n_volume = n_out_of_order,
                "the recorder could not keep up in this session: some volumes were used before \
                 they were recorded, so results of the replay can differ from those of the session"
            );
        }
        if self.n_without_run > 0 {
            tracing::warn!(
                n_message = self.n_without_run,
                "some messages were not used: the start of their run is missing in the recording"
            );
        }
        if !recording.is_whole() {
            tracing::warn!("{}; all other entries were replayed", recording.faults());
        }
        // A session that was interrupted has no end of its last run.
        for happening in self.ingest.command(Command::Stop) {
            self.session.handle(happening, monotonic_ns(), out);
        }
        Ok(())
    }

    fn adapter(
        &mut self,
        path: &Path,
        adapter: &mut dyn ScannerAdapter,
        log: &mut dyn FnMut(&Input, u64),
        out: &mut dyn FnMut(Product),
        progress: &mut dyn FnMut(Option<u32>),
    ) -> Result<(), ReplayError> {
        let refused = |reason| ReplayError::Refused { path: path.to_owned(), reason };
        while let Some(header) = adapter.start_run()? {
            let n_volumes = header.n_volumes;
            let run = FromAdapter::Run { header, resume: false };
            self.message(run.to_frames(Encoding::MessagePack), log, out).map_err(refused)?;
            let name = self.ingest.open_run().map(|run| run.name.to_string()).unwrap_or_default();
            for event in adapter.events() {
                let mark = FromAdapter::Mark(Mark {
                    run: name.clone(),
                    time_s: event.onset_s,
                    name: event.trial_type.clone(),
                    value: Some(event.duration_s),
                });
                self.message(mark.to_frames(Encoding::MessagePack), log, out).map_err(refused)?;
            }
            let mut n_sent = 0;
            while let Some(volume) = adapter.next_volume()? {
                if self.is_stopped() {
                    return Ok(());
                }
                n_sent += 1;
                let message = FromAdapter::Volume(volume.into_message(&name));
                self.message(message.to_frames(Encoding::MessagePack), log, out)
                    .map_err(refused)?;
                progress(n_volumes);
            }
            let end = FromAdapter::End(End { run: name, n_sent: Some(n_sent), triggers: None });
            self.message(end.to_frames(Encoding::MessagePack), log, out).map_err(refused)?;
        }
        Ok(())
    }

    /// Feeds one message. Returns whether it was an accepted volume.
    fn message(
        &mut self,
        frames: Vec<Bytes>,
        log: &mut dyn FnMut(&Input, u64),
        out: &mut dyn FnMut(Product),
    ) -> Result<bool, String> {
        let message = match FromAdapter::parse(&frames) {
            Ok((message, _)) => message,
            Err(error) => return Err(error.to_string()),
        };
        self.pace(&message);
        let received_ns = monotonic_ns();
        let verdict = self.ingest.handle(message);
        if let Some(IngestError::UnknownRun { .. }) = verdict.problem {
            self.n_without_run = self.n_without_run.saturating_add(1);
            return Ok(false);
        }
        if let Some(ToAdapter::Refused(refused)) = verdict.replies.first()
            && refused.index.is_none()
        {
            return Err(refused.reason.clone());
        }
        if let Some(problem) = &verdict.problem {
            tracing::warn!("{problem}");
        }
        if !verdict.events.is_empty() {
            log(&Input::Message(frames), received_ns);
        }
        let is_volume = matches!(verdict.events.first(), Some(Event::Volume(..)));
        for event in verdict.events {
            if let Event::RunStarted(run) = &event {
                self.repetition_time_s = run.header.repetition_time.as_secs();
                self.started = None;
            }
            self.session.handle(Happening::Event(event), received_ns, out);
        }
        Ok(is_volume)
    }

    /// Waits until a volume is due.
    fn pace(&mut self, message: &FromAdapter) {
        let FromAdapter::Volume(volume) = message else { return };
        if self.speed <= 0.0 {
            return;
        }
        let grid_s = self.repetition_time_s * f64::from(volume.header.index.0);
        let time_s = volume.header.acquisition_time_s.filter(|&time_s| {
            time_off_s(self.repetition_time_s, volume.header.index, time_s).is_none()
        });
        let time_s = time_s.unwrap_or(grid_s);
        let (start, first_s) = *self.started.get_or_insert((Instant::now(), time_s));
        // A recording may contain any number; a volume that would be due in years is not waited for.
        let after = Duration::try_from_secs_f64(((time_s - first_s) / self.speed).max(0.0));
        let after = after.ok().filter(|after| *after < LONGEST_WAIT);
        let Some(due) = after.and_then(|after| start.checked_add(after)) else { return };
        // The caller asked for pacing; no live signal path waits here.
        #[allow(clippy::disallowed_methods, reason = "a replay in real time has to wait")]
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// An input in the form the recorder stores.
#[must_use]
pub fn packed(input: &Input) -> Bytes {
    match input {
        Input::Message(frames) => pack(frames),
        Input::Command(command) => {
            serde_json::json!({ "command": command }).to_string().into_bytes().into()
        }
    }
}
