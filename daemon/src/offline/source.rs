//! What can be replayed: a recording, an image, or a run of a BIDS dataset.

use std::path::{Path, PathBuf};

use corticast_images::{
    bids::{BidsAdapter, BidsOptions},
    error::AdapterError,
    nifti::{NiftiAdapter, NiftiOptions},
    source::ScannerAdapter,
};

/// What is replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What kind of file it is.
    pub kind: Kind,
    /// The file, or the folder.
    pub path: PathBuf,
    /// `events.tsv`, where it was named.
    pub events: Option<PathBuf>,
}

/// What kind of file is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session that was recorded (`.mcap`).
    Recording,
    /// A NIfTI image, or a folder of volumes.
    Image,
    /// A run of a BIDS dataset: TR and events stand beside it.
    Bids,
}

impl Source {
    /// From `BOLD[,EVENTS]`.
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

    /// The adapter that would send it; `None` for a recording.
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

/// A dataset, or an image with its sidecar beside it.
fn is_bids(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("dataset_description.json").is_file();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii"));
    stem.filter(|stem| stem.ends_with("_bold"))
        .is_some_and(|stem| path.with_file_name(format!("{stem}.json")).is_file())
}
