//! The adapter: from images to runs.
//!
//! A series waits until it has enough volumes and its repetition time is known. Then it is ready,
//! and becomes a run when the run before it is over.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use corticast_bold::{
    decode::Order,
    run::{RunEntities, RunHeader},
    time::RepetitionTime,
};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};

use super::{
    backlog,
    clock::wall_time,
    intake::{Counts, Intake, Next, Read},
    numbering::NoNumber,
    options::DicomOptions,
    parts::Part,
    scan::{Scan, Vendor},
    select::{Left, Wanted},
    series::{Refusal, Series, State, Volume, n_excitation, run_label},
    timing::Verdict,
    watch::{Arrivals, Pattern},
};
use crate::adapter::ScannerAdapter;

/// A series begins only after the one before it was silent for this many repetition times: files
/// of both may come out of order.
const SILENT_TRS: f64 = 1.5;
/// An export that is silent for this many repetition times has stalled, or the run is over.
const STALLED_TRS: f64 = 2.0;
/// Slices whose number is not known are a volume after this long without a file.
const SLICES_AFTER: Duration = Duration::from_secs(2);
/// Most bytes of volumes that wait for their run.
const MAX_HELD_BYTES: usize = 512 << 20;

/// Reads images from a folder. See the module docs of `dicom`.
pub struct DicomAdapter {
    options: DicomOptions,
    wanted: Wanted,
    intake: Intake,
    /// All series that were seen since the adapter was opened, by `series_id`.
    series: HashMap<String, Series>,
    /// Series that can become runs, in order.
    ready: VecDeque<String>,
    /// `series_id` of the current run.
    current: Option<String>,
    n_run: u64,
    /// What was left out, by series.
    left: HashSet<(String, Left)>,
    last_volume: Instant,
    last_file: Instant,
    is_stalled: bool,
    is_paused: bool,
    n_held_bytes: usize,
    losses: Arc<AtomicU64>,
}

impl DicomAdapter {
    /// Starts to watch the folder. A folder that does not exist yet is waited for.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be read or a label is not a BIDS label.
    pub fn open(options: DicomOptions) -> Result<Self, AdapterError> {
        let DicomOptions { sub, ses, task, run, .. } = &options;
        RunEntities::checked(sub, ses.as_deref(), task.as_deref(), Some(run))?;
        // Not the folder's name, because scanners put the patient's name into it.
        let error = |source| AdapterError::Io { path: "the DICOM folder".into(), source };

        let pattern = Pattern::new(&options.pattern);
        let poll = Duration::from_millis(options.poll_ms);
        let folder = &options.folder;
        let (files, arrivals) = if options.once {
            let found = backlog::list(folder, &pattern).map_err(error)?;
            if found.is_empty() {
                let reason = backlog::nothing_here(folder, &options.pattern);
                return Err(AdapterError::Malformed { path: "the DICOM folder".into(), reason });
            }
            (backlog::all(folder, &found), None)
        } else {
            if !folder.exists() {
                tracing::warn!("the folder is not there yet; waiting for it");
            }
            let (arrivals, found) = Arrivals::watch(folder, &pattern, poll).map_err(error)?;
            let n_found = found.len();
            if n_found == 0 && folder.is_dir() {
                let reason = backlog::nothing_here(folder, &options.pattern);
                tracing::warn!("{reason}; still watching");
            }
            let files = backlog::last_series(folder, found, options.series);
            tracing::info!(files = n_found, of_last_series = files.len(), "folder listed");
            (files, Some(arrivals))
        };
        let now = Instant::now();
        Ok(Self {
            wanted: options.wanted(),
            intake: Intake::new(files, arrivals, options.deadline_s),
            options,
            series: HashMap::new(),
            ready: VecDeque::new(),
            current: None,
            n_run: 0,
            left: HashSet::new(),
            last_volume: now,
            last_file: now,
            is_stalled: false,
            is_paused: false,
            n_held_bytes: 0,
            losses: Arc::default(),
        })
    }

    /// Counts of the files so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.intake.counts
    }

    /// The number of volumes that were refused or never became complete, up to date after each
    /// run and at the end.
    #[must_use]
    pub fn losses(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.losses)
    }

    /// Start of each slice of a series after its first one, in seconds; empty if not known.
    #[must_use]
    pub fn slice_times_s(&self, series_id: &str) -> &[f64] {
        self.series.get(series_id).map_or(&[], |series| &series.slice_times_s)
    }

    /// Takes a file that was read.
    fn take(&mut self, read: Read) -> Result<(), AdapterError> {
        let Read { scan, parts, file, is_listed } = read;
        self.last_file = Instant::now();
        if self.options.once {
            self.flush_others(&scan.series_id)?;
        }
        for part in parts {
            if let Err(left) = self.wanted.admits(&scan, &part) {
                self.leave_out(&scan, left);
                continue;
            }
            self.take_part(&scan, part, &file, is_listed)?;
        }
        if let Some(series) = self.series.get_mut(&scan.series_id) {
            series.is_known(scan.instance);
        }
        self.try_start(&scan.series_id, false)
    }

    fn take_part(
        &mut self,
        scan: &Scan,
        part: Part,
        file: &str,
        is_listed: bool,
    ) -> Result<(), AdapterError> {
        let beside = (!self.options.once && !is_listed).then(|| self.is_beside(scan, &part));
        let tr = self.options.tr;
        let series = self
            .series
            .entry(scan.series_id.clone())
            .or_insert_with(|| Series::new(scan.clone(), tr));
        if let Err(left) = series.echoes.admits(part.echo, self.wanted.echo) {
            self.leave_out(scan, left);
            return Ok(());
        }
        if series.has(scan.instance) {
            self.intake.counts.duplicates += 1;
            tracing::debug!(file, "file skipped: the same image arrived before");
            return Ok(());
        }
        if beside == Some(true) && series.state == State::Waiting {
            self.leave_out(scan, Left::Beside);
            return Ok(());
        }
        let n_held = series.held.len();
        let refusals = series.add(scan, part);
        let bytes: usize = series.held[n_held..].iter().map(|volume| volume.voxels.len()).sum();
        self.n_held_bytes += bytes;
        if matches!(series.state, State::Over | State::Refused) {
            let n = series.held.len() as u64;
            self.n_held_bytes -= series.held.drain(..).map(|v| v.voxels.len()).sum::<usize>();
            self.intake.counts.refused += n;
            if n > 0 {
                tracing::warn!(file, "volume skipped: its series is over or was refused");
            }
        }
        refusals.into_iter().for_each(|refusal| self.refuse(file, &refusal));
        Ok(())
    }

    fn refuse(&mut self, file: &str, reason: &Refusal) {
        if matches!(reason, Refusal::Number(NoNumber::Copy)) {
            self.intake.counts.duplicates += 1;
            tracing::debug!(file, %reason, "file skipped");
            return;
        }
        self.intake.counts.refused += 1;
        tracing::warn!(file, %reason, "file skipped");
    }

    /// Whether a part was acquired while the current series was: it is another reconstruction.
    fn is_beside(&self, scan: &Scan, part: &Part) -> bool {
        let current = self.current.as_ref().filter(|id| **id != scan.series_id);
        let current = current.and_then(|id| self.series.get(id));
        current.is_some_and(|series| series.was_scanning(part.time) == Some(true))
    }

    /// Notes an image that is left out. Each kind of each series is named once.
    fn leave_out(&mut self, scan: &Scan, left: Left) {
        self.intake.counts.left_out += 1;
        if self.left.len() < 4096 && self.left.insert((scan.series_id.clone(), left)) {
            let series = scan.series_number.map_or("without number".into(), |n| n.to_string());
            tracing::info!("series {series}: left out: {left}");
        }
    }

    /// Completes the volumes of series that came before this one, in a folder read in order.
    fn flush_others(&mut self, series_id: &str) -> Result<(), AdapterError> {
        let others =
            self.series.iter().filter(|(id, series)| *id != series_id && series.has_slices());
        let others: Vec<String> = others.map(|(id, _)| id.clone()).collect();
        others.iter().try_for_each(|id| self.flush(id, true))
    }

    /// Completes the volumes of a series that wait for nothing but a later slice.
    fn flush(&mut self, series_id: &str, at_end: bool) -> Result<(), AdapterError> {
        let Some(series) = self.series.get_mut(series_id) else { return Ok(()) };
        let n_held = series.held.len();
        let refusals = series.flush();
        self.n_held_bytes += series.held[n_held..].iter().map(|v| v.voxels.len()).sum::<usize>();
        refusals.into_iter().for_each(|refusal| self.refuse("the last slices", &refusal));
        self.try_start(series_id, at_end)
    }

    /// Makes a series ready to be a run, if it has enough volumes and a repetition time.
    fn try_start(&mut self, series_id: &str, at_end: bool) -> Result<(), AdapterError> {
        let options = &self.options;
        let Some(series) = self.series.get_mut(series_id) else { return Ok(()) };
        if series.state != State::Waiting || series.held.is_empty() {
            return Ok(());
        }
        let least = options.min_volumes.unwrap_or(if series.scan.is_still { 2 } else { 1 });
        if series.n_volume() < least as usize {
            if at_end {
                let scan = series.scan.clone();
                series.state = State::Refused;
                series.held.clear();
                self.leave_out(&scan, Left::TooShort);
            }
            return Ok(());
        }
        // The header of the run states them, so it waits for the second volume.
        if !at_end && series.doubts_slice_times() {
            return Ok(());
        }
        let number = series.scan.series_number;
        match series.settle(options.tr) {
            Verdict::Known(tr) => {
                if let Some(stated) = series.scan.repetition_s.filter(|stated| {
                    options.tr.is_some() && !super::timing::agree(*stated, tr.as_secs())
                }) {
                    tracing::info!("the header's repetition time is {stated} s; --tr says {tr}");
                }
            }
            Verdict::OfClock(tr, doubt) => tracing::warn!(
                series = number,
                "the header's repetition time {doubt}; the scanner's clock says {tr}, which is \
                 used; --tr sets another"
            ),
            Verdict::Unknown(_) if !at_end && series.held.len() < 2 => return Ok(()),
            Verdict::Unknown(doubt) => {
                series.state = State::Refused;
                let n = series.held.len() as u64;
                series.held.clear();
                self.intake.counts.refused += n;
                tracing::error!(
                    series = number,
                    "series refused: the header's repetition time {doubt}, and the scanner's \
                     clock tells none; give it with --tr"
                );
                return Ok(());
            }
        }
        self.ready.push_back(series_id.to_owned());
        self.make_run(series_id)
    }

    fn make_run(&mut self, series_id: &str) -> Result<(), AdapterError> {
        let DicomOptions { sub, ses, task, run, session, volumes, state, .. } = &self.options;
        let n_before = match state {
            Some(state) => state.number_of(series_id),
            None => self.n_run,
        };
        self.n_run += 1;
        let run = run_label(run, n_before);
        let entities = RunEntities::checked(sub, ses.as_deref(), task.as_deref(), Some(&run))?;
        let Some(series) = self.series.get_mut(series_id) else { return Ok(()) };
        let (Some(space), Some(repetition_time)) = (series.space(), series.repetition_time())
        else {
            return Ok(());
        };
        series.header = Some(RunHeader {
            session: session.clone(),
            entities,
            repetition_time,
            space: space.clone(),
            n_volumes: volumes.or(series.scan.n_volumes.filter(|n| *n > 1)),
            source: source(&series.scan).into(),
            series_id: series_id.to_owned(),
            slice_times: series.slice_times(space.matrix()),
        });
        series.state = State::Run;
        Ok(())
    }

    /// The next volume of the current run that is here.
    fn next_held(&mut self) -> Option<AcquiredVolume> {
        let series = self.series.get_mut(self.current.as_ref()?)?;
        if series.held.is_empty() {
            return None;
        }
        let volume = series.held.remove(0);
        self.n_held_bytes = self.n_held_bytes.saturating_sub(volume.voxels.len());
        self.intake.counts.handed_on += 1;
        if self.is_stalled {
            let pause_s = self.last_volume.elapsed().as_secs_f64();
            tracing::info!(index = %volume.index, "volumes arrive again after {pause_s:.1} s");
        }
        (self.is_stalled, self.is_paused) = (false, false);
        self.last_volume = Instant::now();
        let acquisition_time_s = series.acquisition_time_s(&volume);
        let Volume { index, time, stack, voxels, .. } = volume;
        Some(AcquiredVolume {
            index,
            acquisition_time_s,
            dtype: stack.dtype,
            order: Order::F,
            slope: stack.scale.slope,
            intercept: stack.scale.intercept,
            scanner_wall_time: time
                .filter(|_| self.options.send_wall_time)
                .map(|time| wall_time(time.us)),
            voxels,
        })
    }

    /// Whether the series that is ready may begin now, and when it may otherwise.
    fn successor(&self) -> Option<Instant> {
        self.ready.front()?;
        let tr = self.series.get(self.current.as_ref()?)?.repetition_time()?;
        let silent = if self.options.once { 0.0 } else { SILENT_TRS };
        Some(self.last_volume + Duration::from_secs_f64(silent * tr.as_secs()))
    }

    /// What is due when no file comes: at the earliest of these times.
    fn due(&self) -> Option<Instant> {
        let waits = self.series.values().any(|series| {
            series.has_slices() || series.state == State::Waiting && !series.held.is_empty()
        });
        let slices = waits.then(|| self.last_file + SLICES_AFTER);
        let tr = self.current.as_ref().and_then(|id| self.series.get(id)?.repetition_time());
        let stall = tr.filter(|_| !self.is_stalled).map(|tr| self.last_volume + self.stalled(tr));
        let pause = (self.current.is_some() && !self.is_paused)
            .then(|| self.last_volume + self.options.end_after_s);
        [slices, stall, pause, self.successor()].into_iter().flatten().min()
    }

    fn stalled(&self, tr: RepetitionTime) -> Duration {
        // Polling sees a file only after two looks.
        Duration::from_secs_f64(STALLED_TRS * tr.as_secs())
            + 2 * Duration::from_millis(self.options.poll_ms)
    }

    /// Does what is due after a silence.
    fn quiet(&mut self) -> Result<(), AdapterError> {
        // A signal may end the program while nothing comes.
        self.count_losses();
        let now = Instant::now();
        if now >= self.last_file + SLICES_AFTER {
            let is_late = now >= self.last_file + self.options.end_after_s;
            let waiting = self.series.iter().filter(|(_, series)| {
                series.has_slices() || series.state == State::Waiting && !series.held.is_empty()
            });
            let waiting: Vec<String> = waiting.map(|(id, _)| id.clone()).collect();
            // Only once for each silence.
            self.last_file = now;
            for id in waiting {
                if self.series.get(&id).is_some_and(Series::counts_slices) {
                    self.flush(&id, is_late)?;
                } else if is_late {
                    self.try_start(&id, true)?;
                }
            }
        }
        let Some(series) = self.current.as_ref().and_then(|id| self.series.get(id)) else {
            return Ok(());
        };
        let Some((tr, header)) = series.repetition_time().zip(series.header.as_ref()) else {
            return Ok(());
        };
        let silent = now.saturating_duration_since(self.last_volume);
        if !self.is_stalled && silent >= self.stalled(tr) {
            self.is_stalled = true;
            tracing::warn!(
                run = header.run_id(),
                "no volume for {:.1} s, more than {STALLED_TRS} TR: the export has stalled, or \
                 the scan is over",
                silent.as_secs_f64()
            );
        }
        if !self.is_paused && silent >= self.options.end_after_s {
            self.is_paused = true;
            self.count_losses();
            tracing::info!(
                run = header.run_id(),
                missing = series.n_missing(),
                "no volume for {:.1} s: the run is taken to be over. It stays open until the \
                 next series begins, and goes on if its own series does",
                silent.as_secs_f64()
            );
        }
        Ok(())
    }

    fn end_run(&mut self) {
        self.count_losses();
        let Some(series) = self.current.take().and_then(|id| self.series.get_mut(&id)) else {
            return;
        };
        series.state = State::Over;
        let Some(header) = &series.header else { return };
        let (run, missing) = (header.run_id(), series.n_missing());
        let Counts { duplicates, refused, given_up, left_out, .. } = self.intake.counts;
        tracing::info!(run, missing, duplicates, refused, given_up, left_out, "run ended");
    }

    /// Counts what was lost, so that the program's exit code can tell.
    fn count_losses(&self) {
        let is_here = |image: &Option<(String, u64)>| {
            let Some((series_id, instance)) = image else { return false };
            self.series.get(series_id).is_some_and(|series| series.has(*instance))
        };
        let cut = self.intake.incomplete.iter().filter(|image| !is_here(image)).count() as u64;
        self.losses.store(self.intake.counts.refused + cut, Ordering::Relaxed);
    }
}

impl ScannerAdapter for DicomAdapter {
    fn refused(&self) -> Option<Arc<AtomicU64>> {
        Some(self.losses())
    }

    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.end_run();
        while self.ready.is_empty() {
            match self.intake.next(self.due()) {
                Next::Image(read) => self.take(*read)?,
                Next::Quiet => self.quiet()?,
                Next::End => {
                    self.finish()?;
                    if self.ready.is_empty() {
                        return Ok(None);
                    }
                }
            }
        }
        let Some(id) = self.ready.pop_front() else { return Ok(None) };
        let series = &self.series[&id];
        let Some(header) = series.header.clone() else { return Ok(None) };
        let (n_slice, n_excitation) =
            (series.slice_times_s.len(), n_excitation(&series.slice_times_s));
        tracing::info!(
            run = header.run_id(), series = series.scan.series_number,
            matrix = ?header.space.matrix(), tr = %header.repetition_time, n_slice, n_excitation,
            "run started"
        );
        self.current = Some(id);
        self.last_volume = Instant::now();
        (self.is_stalled, self.is_paused) = (false, false);
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        loop {
            let Some(current) = self.current.clone() else { return Ok(None) };
            if let Some(volume) = self.next_held() {
                return Ok(Some(volume));
            }
            let is_followed = self.successor().is_some_and(|start| start <= Instant::now());
            if is_followed || self.series[&current].is_complete() {
                break;
            }
            if self.n_held_bytes > MAX_HELD_BYTES {
                tracing::error!("too many volumes of the next series wait: this run ends");
                break;
            }
            match self.intake.next(self.due()) {
                Next::Image(read) => self.take(*read)?,
                Next::Quiet => self.quiet()?,
                Next::End => {
                    self.finish()?;
                    if let Some(volume) = self.next_held() {
                        return Ok(Some(volume));
                    }
                    break;
                }
            }
        }
        self.end_run();
        Ok(None)
    }
}

impl DicomAdapter {
    /// Completes what waits, after the last file.
    fn finish(&mut self) -> Result<(), AdapterError> {
        let mut ids: Vec<String> = self.series.keys().cloned().collect();
        ids.sort_by_key(|id| self.series[id].scan.series_number);
        ids.iter().try_for_each(|id| self.flush(id, true))?;
        self.count_losses();
        Ok(())
    }
}

/// What is sent, for the run's header.
fn source(scan: &Scan) -> &'static str {
    match scan.vendor {
        Vendor::SiemensV => "dicom: Siemens",
        Vendor::SiemensXa => "dicom: Siemens XA",
        Vendor::Ge => "dicom: GE",
        Vendor::Philips => "dicom: Philips, floating-point values (stored / (2005,100E))",
        Vendor::UnitedImaging => "dicom: United Imaging",
        Vendor::Other => "dicom",
    }
}
