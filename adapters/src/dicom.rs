//! A folder into which a Siemens scanner exports mosaics: one DICOM file per volume.
//!
//! Each series is a run. A volume is delivered as soon as its file is complete: after the file was
//! closed, renamed into place, or found by polling (`watch`). A truncated file is tried again
//! until a deadline (`intake`). The header gives the number of the volume (`series`); the file's
//! name may be wrong.
//!
//! ```text
//! watch ──names──► intake ──elements, attributes, csa, image, mosaic──► series ──► the adapter
//! ```
//!
//! The scanner does not report the end of a run. A run ends when the next series begins, when all
//! its volumes have arrived, or when no volume arrived for a while. If the same series continues
//! later, the run continues too: same name, same `series_id`, and its indices go on.
//!
//! Files already in the folder come first (`backlog`): those of the series acquired last, in order
//! of acquisition, so an adapter that starts late or restarts misses nothing of it.
//!
//! **Patient data does not leave this module.** Run names come from the command line, never from
//! the header; a hash identifies a series, and is hashed again with the session's salt before it
//! is sent. Texts of the header and the folder's name are neither passed on nor logged, and a
//! file's name is logged only if it consists of the scanner's three numbers. The time of day is
//! sent only on request, because together with the day it identifies the scan.

mod attributes;
mod backlog;
mod clock;
mod csa;
mod elements;
mod error;
mod file_name;
#[cfg(test)]
mod fixture;
mod hash;
mod image;
mod intake;
mod mosaic;
mod polling;
mod series;
mod tags;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_bold::{
    decode::Order,
    run::{RunEntities, RunHeader},
};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};

pub use self::intake::Counts;
pub(crate) use self::series::run_label;
use self::{
    image::Image,
    intake::{Intake, Mosaic, Next},
    series::{Place, Series},
    watch::{Arrivals, Pattern},
};
use crate::{adapter::ScannerAdapter, session_state::SessionState};

/// Which folder, how runs are named, and how long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct DicomOptions {
    /// Folder into which the scanner exports
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Subject label: a pseudonym; never taken from the images
    #[arg(long, default_value = "x")]
    pub sub: String,
    /// Session label
    #[arg(long)]
    pub ses: Option<String>,
    /// Task label
    #[arg(long)]
    pub task: Option<String>,
    /// Run label of the first series; each further series counts it up
    #[arg(long, default_value = "1")]
    pub run: String,
    /// Name of the session
    #[arg(long, default_value = "")]
    pub session: String,
    /// Read only files whose name matches, with * and ?
    #[arg(long, default_value = "*")]
    pub pattern: String,
    /// Take only the series of this number (e.g. not the motion-corrected copy)
    #[arg(long, value_name = "NUMBER")]
    pub series: Option<u32>,
    /// Number of volumes after which a run ends [default: not known]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub volumes: Option<u32>,
    /// A run ends when no volume arrived for this long
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub end_after_s: Duration,
    /// An incomplete file is skipped after this long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub deadline_s: Duration,
    /// Interval of polling the folder, in addition to notifications: network shares send none
    #[arg(long, value_name = "MILLISECONDS", default_value = "200",
        value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll_ms: u64,
    /// Send the scanner's time of day with each volume. With the day it identifies the scan
    #[arg(long)]
    pub send_wall_time: bool,
    /// Send the images that exist now, in order of acquisition, and end
    #[arg(skip)]
    pub once: bool,
    /// Numbers the series, so that a restarted adapter gives them the same names
    #[arg(skip)]
    pub state: Option<SessionState>,
}

/// Reads bytes as the adapter reads a file, and returns the matrix and the voxels, x fastest.
///
/// # Errors
///
/// Fails when the adapter would refuse such a file. The text says why.
pub fn read_mosaic(bytes: &[u8]) -> Result<([usize; 3], Bytes), String> {
    let (image, picture) = Image::parse(bytes).map_err(|error| error.to_string())?;
    let voxels = image.tiling.unmosaic(picture).map_err(|error| error.to_string())?;
    Ok((image.tiling.matrix, voxels))
}

/// Reads the beginning of a file, without its picture, as the adapter does to sort a folder.
/// Returns the number of the volume in its series, from 0.
///
/// # Errors
///
/// As [`read_mosaic`].
pub fn read_index(bytes: &[u8]) -> Result<u32, String> {
    Image::header(bytes).map(|image| image.index.0).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| format!("expected 0 to 86400 seconds, got {seconds}"))
}

/// Reads Siemens mosaics from a folder. See the module docs.
pub struct DicomAdapter {
    options: DicomOptions,
    intake: Intake,
    /// All series that began since the adapter was opened, by `series_id`.
    series: HashMap<String, Series>,
    /// `series_id` of the current run.
    current: Option<String>,
    /// The accepted first volume of a run, not yet delivered.
    held: Option<Mosaic>,
    last_volume: Instant,
}

impl DicomAdapter {
    /// Starts to watch the folder.
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
            (backlog::all(folder, &found), None)
        } else {
            let (arrivals, found) = Arrivals::watch(folder, &pattern, poll).map_err(error)?;
            let n_found = found.len();
            let files = backlog::last_series(folder, found, options.series);
            tracing::info!(files = n_found, of_last_series = files.len(), "folder listed");
            (files, Some(arrivals))
        };
        let intake = Intake::new(files, arrivals, options.deadline_s);
        Ok(Self {
            options,
            intake,
            series: HashMap::new(),
            current: None,
            held: None,
            last_volume: Instant::now(),
        })
    }

    /// Counts of the files so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.intake.counts
    }

    /// Registers the image in its series. Returns whether the image is a volume to deliver.
    fn place(&mut self, mosaic: &Mosaic) -> Result<bool, AdapterError> {
        let Mosaic { image, file, .. } = mosaic;
        if self.options.series.is_some_and(|wanted| image.series_number != Some(wanted)) {
            tracing::debug!(file, "file skipped: not the series given by --series");
            return Ok(false);
        }
        if !self.series.contains_key(&image.series_id) {
            let header = self.header(image)?;
            self.series.values_mut().for_each(|earlier| earlier.over = true);
            self.series.insert(image.series_id.clone(), Series::new(header));
        }
        let series = self.series.get_mut(&image.series_id).expect("inserted above if new");
        let counts = &mut self.intake.counts;
        match series.place(image, file) {
            Place::Volume => return Ok(true),
            Place::Duplicate => counts.duplicates += 1,
            Place::Refused => counts.refused += 1,
        }
        Ok(false)
    }

    fn header(&self, image: &Image) -> Result<RunHeader, AdapterError> {
        let DicomOptions { sub, ses, task, run, session, volumes, .. } = &self.options;
        let n_before = match &self.options.state {
            Some(state) => state.number_of(&image.series_id),
            None => self.series.len() as u64,
        };
        let run = run_label(run, n_before);
        let entities = RunEntities::checked(sub, ses.as_deref(), task.as_deref(), Some(&run))?;
        Ok(RunHeader {
            session: session.clone(),
            entities,
            repetition_time: image.repetition_time,
            space: image.space.clone(),
            n_volumes: volumes.or(image.n_volumes),
            source: "dicom: Siemens mosaics".into(),
            series_id: image.series_id.clone(),
        })
    }

    fn hand_on(&mut self, mosaic: Mosaic) -> AcquiredVolume {
        let Mosaic { image, voxels, .. } = mosaic;
        self.last_volume = Instant::now();
        self.intake.counts.handed_on += 1;
        let series = self.series.get_mut(&image.series_id).expect("placed in its series");
        AcquiredVolume {
            index: image.index,
            acquisition_time_s: series.acquisition_time_s(&image),
            dtype: image.dtype,
            order: Order::F,
            slope: image.slope,
            intercept: image.intercept,
            scanner_wall_time: image.wall_time().filter(|_| self.options.send_wall_time),
            voxels,
        }
    }

    fn end_run(&mut self) {
        if let Some(series) = self.current.take().and_then(|id| self.series.get(&id)) {
            let (run, missing) = (series.header.run_id(), series.n_missing());
            let Counts { duplicates, refused, given_up, .. } = self.intake.counts;
            tracing::info!(run, missing, duplicates, refused, given_up, "run ended");
        }
    }
}

impl ScannerAdapter for DicomAdapter {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.end_run();
        let first = loop {
            if let Some(held) = self.held.take() {
                break held;
            }
            match self.intake.next(None) {
                Next::Mosaic(mosaic) if self.place(&mosaic)? => break *mosaic,
                Next::Mosaic(_) | Next::Quiet => {}
                Next::End => return Ok(None),
            }
        };
        let header = self.series[&first.image.series_id].header.clone();
        // Slices with the same start time belong to one excitation (multiband).
        let mut starts = first.image.slice_times_s.clone();
        starts.sort_by(f64::total_cmp);
        starts.dedup_by(|a, b| (*a - *b).abs() < 1e-4);
        let (n_slice, n_excitation) = (first.image.slice_times_s.len(), starts.len());
        tracing::info!(
            run = header.run_id(), matrix = ?header.space.matrix(),
            tr = %header.repetition_time, n_slice, n_excitation, "run started"
        );
        self.current = Some(header.series_id.clone());
        self.held = Some(first);
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        let Some(current) = self.current.clone() else { return Ok(None) };
        if let Some(first) = self.held.take() {
            return Ok(Some(self.hand_on(first)));
        }
        while !self.series[&current].is_complete() {
            match self.intake.next(Some(self.last_volume + self.options.end_after_s)) {
                Next::Mosaic(mosaic) if self.place(&mosaic)? => {
                    if mosaic.image.series_id == current {
                        return Ok(Some(self.hand_on(*mosaic)));
                    }
                    self.held = Some(*mosaic);
                    break;
                }
                Next::Mosaic(_) => {}
                Next::Quiet | Next::End => break,
            }
        }
        self.end_run();
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
