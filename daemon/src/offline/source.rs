//! Sources of a replay: a recording, an image, or a run of a BIDS dataset.

use std::path::PathBuf;

use corticast_bold::run::RunHeader;
use corticast_images::{
    beside::events_of,
    bids::{self, BidsAdapter, BidsOptions},
    error::AdapterError,
    nifti::{NiftiAdapter, NiftiOptions},
    source::ScannerAdapter,
};
use corticast_wire::{files, message::FromAdapter};
use serde_json::Value;

use super::error::ReplayError;
use crate::{
    plan::admission::Admission,
    recording::{format::SESSION, reader::Recording},
};

/// A source of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Kind of the source.
    pub kind: Kind,
    /// The file or folder.
    pub path: PathBuf,
    /// `events.tsv`: as given, else the one that applies to a BIDS image.
    pub events: Option<PathBuf>,
    /// Repetition time of an image, in seconds; `None`: its sidecar's, else its header's.
    pub repetition_time_s: Option<f64>,
}

/// Kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A recorded session (`.mcap`).
    Recording,
    /// A NIfTI image, or a folder of volumes.
    Image,
    /// The only run of a BIDS dataset.
    Bids,
}

impl Source {
    /// Parses `BOLD[,EVENTS]`. `repetition_time_s` replaces the TR of an image.
    #[must_use]
    pub fn parse(argument: &str, repetition_time_s: Option<f64>) -> Self {
        let (bold, events) = match argument.split_once(',') {
            Some((bold, events)) => (bold, Some(PathBuf::from(events))),
            None => (argument, None),
        };
        let mut path = PathBuf::from(bold);
        let mut kind = if path.extension().is_some_and(|extension| extension == "mcap") {
            Kind::Recording
        } else if path.join("dataset_description.json").is_file() {
            Kind::Bids
        } else {
            Kind::Image
        };
        if kind == Kind::Bids {
            let options = BidsOptions { dataset: path.clone(), ..BidsOptions::default() };
            // The only run; otherwise the adapter lists the runs.
            if let Ok(image) = bids::run_of(&options) {
                (path, kind) = (image, Kind::Image);
            }
        }
        // A file that cannot be listed or read is an error of the adapter, which names it.
        let events = events.or_else(|| events_of(&path).ok().flatten());
        Self { kind, path, events, repetition_time_s }
    }

    /// Checks, before any output is created, that the source can be read and that its first run is
    /// admitted. Returns the session of a recording, as described in it.
    ///
    /// # Errors
    ///
    /// Fails when a file is missing or invalid, or when the run is refused.
    pub fn check(&self, admission: &Admission) -> Result<Option<Value>, ReplayError> {
        if let Some(events) = &self.events {
            let opened = files::open(events);
            opened.map_err(|source| AdapterError::Io { path: events.clone(), source })?;
        }
        let admit = |header: &RunHeader| {
            let path = self.path.clone();
            admission(header, 0).map_err(|reason| ReplayError::Refused { path, reason })
        };
        if let Some(mut adapter) = self.adapter()? {
            let header = adapter.start_run()?.ok_or_else(|| self.empty())?;
            admit(&header)?;
            return Ok(None);
        }
        if self.repetition_time_s.is_some() {
            tracing::warn!("--tr is not used: a recording holds the TR of its runs");
        }
        let mut session = None;
        for entry in &mut Recording::open(&self.path)? {
            if entry.topic == SESSION && session.is_none() {
                session = serde_json::from_slice(&entry.data).ok();
            }
            let message = entry.frames().and_then(|frames| FromAdapter::parse(&frames).ok());
            if let Some((FromAdapter::Run { header, .. }, _)) = message {
                admit(&header)?;
                return Ok(session);
            }
        }
        Err(self.empty())
    }

    fn empty(&self) -> ReplayError {
        let reason = "holds no run, expected at least one".to_owned();
        ReplayError::Refused { path: self.path.clone(), reason }
    }

    fn of_dataset(&self) -> BidsOptions {
        BidsOptions {
            dataset: self.path.clone(),
            tr: self.repetition_time_s,
            events: self.events.clone(),
            ..BidsOptions::default()
        }
    }

    /// The adapter that reads the source; `None` for a recording.
    ///
    /// # Errors
    ///
    /// Fails when the image or its events cannot be read.
    pub(super) fn adapter(&self) -> Result<Option<Box<dyn ScannerAdapter>>, AdapterError> {
        Ok(match self.kind {
            Kind::Recording => None,
            Kind::Image => Some(Box::new(NiftiAdapter::open(NiftiOptions {
                files: vec![self.path.clone()],
                tr: self.repetition_time_s,
                events: self.events.iter().cloned().collect(),
                ..NiftiOptions::default()
            })?)),
            Kind::Bids => Some(Box::new(BidsAdapter::open(self.of_dataset())?)),
        })
    }
}
