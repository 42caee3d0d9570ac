//! A folder into which a Siemens scanner exports mosaics: one DICOM file per volume.
//!
//! Each series is a run. A volume is handed on the moment its file is complete: when it was
//! closed after writing, renamed into place, or found by looking (`watch`); a file that is
//! cut off is tried again until a deadline (`intake`). The header says which volume a file is
//! (`series`); its name may be wrong.
//!
//! ```text
//! watch ──names──► intake ──elements, attributes, csa, image, mosaic──► series ──► the adapter
//! ```
//!
//! A run ends when the next series begins, when its volumes are all there, or when nothing came
//! for a while; the scanner does not say so. If the same series then goes on, so does the run:
//! same name, same `series_id`, and its indices continue.
//!
//! What was in the folder before comes first, in order of acquisition, so that an adapter that
//! is started late or again misses nothing.
//!
//! **Patient data ends here.** Runs are named on the command line, never by the header; a
//! series is known by a hash. Texts of the header, the folder's name and names of files that
//! hold more than the scanner's three numbers are neither handed on nor logged.

mod attributes;
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
mod series;
mod tags;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use corticast_bold::{
    decode::Order,
    run::{RunEntities, RunHeader},
};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError};

pub use self::intake::Counts;
use self::{
    image::Image,
    intake::{Intake, Mosaic, Next},
    series::{Place, Series, run_label},
    watch::{Arrivals, Pattern},
};
use crate::adapter::ScannerAdapter;

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
    /// Volumes of a run; with the last one it ends [default: not known]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub volumes: Option<u32>,
    /// A run ends when nothing came for this long
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub end_after_s: Duration,
    /// An incomplete file is skipped after this long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub deadline_s: Duration,
    /// Look at the folder this often, besides being notified: network shares do not notify
    #[arg(long, value_name = "MILLISECONDS", default_value = "200",
        value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll_ms: u64,
    /// Take what is there, in order of acquisition, and end
    #[arg(skip)]
    pub once: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| format!("expected 0 to 86400 seconds, got {seconds}"))
}

/// Reads Siemens mosaics out of a folder. See the module docs.
pub struct DicomAdapter {
    options: DicomOptions,
    intake: Intake,
    /// Everything that began since the adapter was opened, by `series_id`.
    series: HashMap<String, Series>,
    /// `series_id` of the run that goes on.
    current: Option<String>,
    /// Accepted and not yet handed on: the first volume of its run.
    held: Option<Mosaic>,
    last_volume: Instant,
}

impl DicomAdapter {
    /// Starts to watch the folder.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be read or a label is not one.
    pub fn open(options: DicomOptions) -> Result<Self, AdapterError> {
        let DicomOptions { sub, ses, task, run, .. } = &options;
        RunEntities::checked(sub, ses.as_deref(), task.as_deref(), Some(run))?;
        // Not the folder's name: scanners put the patient's into it.
        let error = |source| AdapterError::Io { path: "the DICOM folder".into(), source };

        let pattern = Pattern::new(&options.pattern);
        let poll = Duration::from_millis(options.poll_ms);
        // Watched before it is listed, or files that arrive in between are seen late.
        let arrivals = match options.once {
            true => None,
            false => Some(Arrivals::watch(&options.folder, &pattern, poll).map_err(error)?),
        };
        let names = watch::list(&options.folder, &pattern).map_err(error)?;
        let files = names.iter().map(|name| options.folder.join(name)).collect();
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

    /// What became of the files so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.intake.counts
    }

    /// Whether this is a volume to hand on; notes it in its series.
    fn place(&mut self, mosaic: &Mosaic) -> Result<bool, AdapterError> {
        let Mosaic { image, file, .. } = mosaic;
        if self.options.series.is_some_and(|wanted| image.series_number != Some(wanted)) {
            tracing::debug!(file, "another series than asked for");
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
        let run = run_label(run, self.series.len() as u64);
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
            scanner_wall_time: image.wall_time(),
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
        // Slices that start together were excited together.
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
