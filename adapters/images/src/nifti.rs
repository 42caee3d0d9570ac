//! Delivers NIfTI-1 files like a scanner: each file, or each folder of 3-D volumes, is a run.
//!
//! The TR comes from [`crate::timing`], and the events of a BIDS image from the file beside it, for
//! every command that reads an image. Files are streamed volume by volume, and their stored bytes are
//! sent. A damaged 4-D file is refused before its first volume (`whole`); in a folder, an unusable
//! file is skipped, logged, and becomes a gap.
//!
//! **Names of files and folders do not leave this module**, because they can contain names of
//! patients: a run is named by `labels`, and its source is `nifti`.

pub mod format;
mod gzip;
pub mod header;
mod header_bytes;
pub(crate) mod pair;
pub mod reader;
mod run;
mod series;
mod whole;
pub mod write;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use corticast_bold::run::RunHeader;

use self::run::Current;
use crate::{
    acquired::AcquiredVolume,
    beside::{bold_stem, events_of},
    error::AdapterError,
    events::{self, Event},
    labels::Labels,
    slices::slice_times,
    source::ScannerAdapter,
    timing::repetition_time,
};

/// Which files to read, and values that replace those in the files.
#[derive(Clone, Debug, Default)]
pub struct NiftiOptions {
    /// 4-D files, or folders of 3-D volumes (.nii, .nii.gz, .hdr and .img). Each is a run, in this
    /// order.
    pub files: Vec<PathBuf>,
    /// Which files of a folder are volumes, with `*` and `?`; `None`: those whose names count on.
    pub pattern: Option<String>,
    /// Repetition time in seconds; `None` uses the sidecar's, else the header's.
    pub tr: Option<f64>,
    /// BIDS `events.tsv`, one per run; without any, those that apply to BIDS images.
    pub events: Vec<PathBuf>,
    /// Name of the session.
    pub session: String,
    /// Labels that replace those in the names of the files.
    pub labels: Labels,
    /// Each run ends after this many volumes. At least 1.
    pub volumes: Option<u32>,
}

/// A run that has not been read yet.
#[derive(Clone, Debug)]
struct Pending {
    path: PathBuf,
    events: Vec<Event>,
}

/// Reads NIfTI files as a scanner would send them. See the module docs.
#[derive(Debug)]
pub struct NiftiAdapter {
    options: NiftiOptions,
    waiting: VecDeque<Pending>,
    /// Number of runs that were started.
    n_started: usize,
    current: Option<Current>,
    events: Vec<Event>,
    refused: Arc<AtomicU64>,
}

impl NiftiAdapter {
    /// Opens the runs. Every event file is read now, so that an invalid one is found before the
    /// first volume.
    ///
    /// # Errors
    ///
    /// Fails when a file does not exist, an event file cannot be read, or the number of event files
    /// is neither 0 nor that of the runs.
    pub fn open(options: NiftiOptions) -> Result<Self, AdapterError> {
        let count = options.files.len();
        if !options.events.is_empty() && options.events.len() != count {
            return Err(AdapterError::Malformed {
                path: options.events[0].clone(),
                reason: format!(
                    "{} event files, expected one per run: {count}",
                    options.events.len()
                ),
            });
        }
        if count > 1 && options.labels.run.is_some() {
            return Err(AdapterError::Malformed {
                path: options.files[0].clone(),
                reason: format!("found {count} runs, expected one with --run"),
            });
        }
        let mut waiting = VecDeque::with_capacity(count);
        for (at, path) in options.files.iter().enumerate() {
            std::fs::metadata(path)
                .map_err(|source| AdapterError::Io { path: path.clone(), source })?;
            let found = match options.events.get(at) {
                Some(given) => Some(given.clone()),
                None => events_of(path)?,
            };
            let events = match &found {
                Some(found) => events::read(found)?,
                None => Vec::new(),
            };
            match found {
                Some(_) => tracing::info!(n_event = events.len(), "events read"),
                None if bold_stem(path).is_some() => {
                    tracing::info!("no events.tsv applies to this image: no marks are sent");
                }
                None => {}
            }
            waiting.push_back(Pending { path: path.clone(), events });
        }
        let refused = Arc::default();
        Ok(Self { options, waiting, n_started: 0, current: None, events: Vec::new(), refused })
    }
}

impl ScannerAdapter for NiftiAdapter {
    fn refused(&self) -> Option<Arc<AtomicU64>> {
        Some(Arc::clone(&self.refused))
    }

    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.current = None;
        let Some(Pending { path, events }) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let options = &self.options;
        let pattern = options.pattern.as_deref();
        let current = Current::open(&path, pattern, options.volumes, &self.refused)?;
        let nifti = &current.header;
        let repetition_time = repetition_time(&current.first_path, nifti, options.tr)?;
        self.n_started += 1;
        let header = RunHeader {
            session: self.options.session.clone(),
            entities: self.options.labels.entities_of(&path, self.n_started)?,
            repetition_time,
            space: nifti.space.clone(),
            n_volumes: Some(current.n_volumes),
            source: "nifti".to_owned(),
            series_id: current.series_id.clone(),
            slice_times: slice_times(&current.first_path, nifti)?,
        };
        let run_s = f64::from(current.n_volumes) * repetition_time.as_secs();
        if let Some(doubt) = events::doubt(&events, run_s) {
            tracing::warn!("{doubt}");
        }
        self.events = events;
        self.current = Some(current);
        Ok(Some(header))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        match &mut self.current {
            Some(current) => current.next_volume(),
            None => Ok(None),
        }
    }

    fn events(&self) -> &[Event] {
        &self.events
    }
}

#[cfg(test)]
mod tests;
