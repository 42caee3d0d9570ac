//! The adapter: from images to runs.
//!
//! A series waits until it has enough volumes and its repetition time is known. Then it is ready,
//! and becomes a run when the run before it is over (`start`, `silence`), unless it covers the times
//! of a run (`beside`). What was lost or left out is counted in `losses`.
//!
//! The first volume of a run waits for the second, at most 1.5 repetition times, because two volumes
//! show how the numbers count (`numbering`). The run is announced before that.

mod beside;
mod losses;
mod silence;
mod start;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use corticast_bold::{decode::Order, run::RunHeader};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};

use self::beside::Beside;
use super::{
    backlog,
    clock::wall_time,
    intake::{Counts, Intake, Next, Read},
    options::DicomOptions,
    parts::Part,
    scan::Scan,
    select::{Left, Wanted},
    series::{Series, State, Volume, n_excitation},
    watch::{Arrivals, Pattern},
};
use crate::adapter::{ScannerAdapter, Stopper};

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
    /// How many of them are of this adapter.
    n_counted: u64,
}

impl DicomAdapter {
    /// Starts to watch the folder. A folder that does not exist yet is waited for.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be read or a label is not a BIDS label.
    pub fn open(options: DicomOptions) -> Result<Self, AdapterError> {
        options.names.entities(0)?;
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
            n_counted: 0,
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
        let Read { scan, parts, file } = read;
        self.last_file = Instant::now();
        if self.options.once {
            self.flush_others(&scan.series_id)?;
        }
        for part in parts {
            if let Err(left) = self.wanted.admits(&scan, &part) {
                self.leave_out(&scan, left);
                continue;
            }
            self.take_part(&scan, part, &file);
        }
        if let Some(series) = self.series.get_mut(&scan.series_id) {
            series.is_known(scan.instance);
        }
        self.try_start(&scan.series_id, false)
    }

    fn take_part(&mut self, scan: &Scan, part: Part, file: &str) {
        let id = &scan.series_id;
        let is_beside = self.beside(scan, part.time) == Beside::Yes;
        let tr = self.options.tr;
        let series = self.series.entry(id.clone()).or_insert_with(|| Series::new(scan.clone(), tr));
        if let Err(left) = series.echoes.admits(part.echo, self.wanted.echo) {
            self.leave_out(scan, left);
            return;
        }
        if series.has(scan.instance) {
            self.intake.counts.duplicates += 1;
            tracing::debug!(file, "file skipped: the same image arrived before");
            return;
        }
        if series.state == State::Beside || is_beside && series.is_no_run_yet() {
            self.leave_out_series(id);
            self.leave_out(scan, Left::Beside(scan.series_number));
            return;
        }
        series.first_came.get_or_insert_with(Instant::now);
        let n_held = series.held.len();
        let refusals = series.add(scan, part);
        let bytes: usize = series.held[n_held..].iter().map(|volume| volume.voxels.len()).sum();
        self.n_held_bytes += bytes;
        if matches!(series.state, State::Over | State::Refused) {
            let n = self.drop_held(id);
            self.intake.counts.refused += n;
            if n > 0 {
                tracing::warn!(file, "volume skipped: its series is over or was refused");
            }
        }
        refusals.into_iter().for_each(|refusal| self.refuse(file, &refusal));
    }

    /// Drops the volumes of a series that wait. Returns how many.
    fn drop_held(&mut self, series_id: &str) -> u64 {
        let Some(series) = self.series.get_mut(series_id) else { return 0 };
        let n = series.held.len() as u64;
        let bytes: usize = series.held.drain(..).map(|volume| volume.voxels.len()).sum();
        self.n_held_bytes = self.n_held_bytes.saturating_sub(bytes);
        n
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

    /// The next volume of the current run that is here.
    fn next_held(&mut self) -> Option<AcquiredVolume> {
        let series = self.series.get_mut(self.current.as_ref()?)?;
        if series.held.is_empty() || !series.is_numbered() {
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
}

impl ScannerAdapter for DicomAdapter {
    fn refused(&self) -> Option<Arc<AtomicU64>> {
        Some(self.losses())
    }

    fn stopper(&self) -> Option<Stopper> {
        Some(self.intake.stopper())
    }

    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.end_run();
        let (id, header) = loop {
            let Some(id) = self.next_ready()? else {
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
                continue;
            };
            if let Some(header) = self.make_run(&id)? {
                break (id, header);
            }
        };
        let series = &self.series[&id];
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
            let is_crowded = self.n_held_bytes > MAX_HELD_BYTES;
            if is_followed || is_crowded || self.series[&current].is_complete() {
                if self.begin(&current) {
                    continue;
                }
                if is_crowded {
                    tracing::error!("too many volumes of the next series wait: this run ends");
                }
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
        for id in &ids {
            // Slices of a volume that is cut off by the operator are not lost volumes.
            if !self.intake.is_stopped() {
                self.flush(id, true)?;
            }
            self.begin(id);
        }
        self.count_losses();
        Ok(())
    }
}
