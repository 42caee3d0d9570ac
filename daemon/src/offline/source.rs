//! Sources of a replay: a recording, an image, or a run of a BIDS dataset.

use std::path::{Path, PathBuf};

use corticast_bold::run::RunHeader;
use corticast_images::{
    bids::{BidsAdapter, BidsOptions},
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
    /// `events.tsv`, if given.
    pub events: Option<PathBuf>,
}

/// Kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A recorded session (`.mcap`).
    Recording,
    /// A NIfTI image, or a folder of volumes.
    Image,
    /// A run of a BIDS dataset, with TR and events in files beside it.
    Bids,
}

impl Source {
    /// Parses `BOLD[,EVENTS]`.
    #[must_use]
    pub fn parse(argument: &str) -> Self {
        let (bold, events) = match argument.split_once(',') {
            Some((bold, events)) => (bold, Some(PathBuf::from(events))),
            None => (argument, None),
        };
        let path = PathBuf::from(bold);
        let kind = if path.extension().is_some_and(|extension| extension == "mcap") {
            Kind::Recording
        } else if is_bids(&path) {
            Kind::Bids
        } else {
            Kind::Image
        };
        Self { kind, path, events }
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
            adapter.start_run()?.iter().try_for_each(admit)?;
            return Ok(None);
        }
        let mut session = None;
        for entry in &mut Recording::open(&self.path)? {
            if entry.topic == SESSION && session.is_none() {
                session = serde_json::from_slice(&entry.data).ok();
            }
            let message = entry.frames().and_then(|frames| FromAdapter::parse(&frames).ok());
            if let Some((FromAdapter::Run { header, .. }, _)) = message {
                admit(&header)?;
                break;
            }
        }
        Ok(session)
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
                events: self.events.iter().cloned().collect(),
                ..NiftiOptions::default()
            })?)),
            Kind::Bids => Some(Box::new(BidsAdapter::open(BidsOptions {
                dataset: self.path.clone(),
                ..BidsOptions::default()
            })?)),
        })
    }
}

/// Whether the path is a BIDS dataset, or an image with its sidecar.
fn is_bids(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("dataset_description.json").is_file();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii"));
    stem.filter(|stem| stem.ends_with("_bold"))
        .is_some_and(|stem| path.with_file_name(format!("{stem}.json")).is_file())
}
