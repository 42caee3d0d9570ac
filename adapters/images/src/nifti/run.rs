//! One run from NIfTI files: a 4-D file, or the 3-D files of a folder.
//!
//! In a folder, an unusable file is logged, counted, and leaves a gap in the index, like a number that
//! lacks. A damaged 4-D file is refused before its first volume; one that is still being written gives
//! an error after its last complete volume.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use corticast_bold::{decode::Order, time::TrIndex};

use super::{
    header::NiftiHeader,
    reader::NiftiReader,
    series::{Numbered, volumes_in},
    whole::{self, Whole},
};
use crate::{acquired::AcquiredVolume, error::AdapterError};

/// The run that is being read.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) header: NiftiHeader,
    /// The run ends after this many volumes, including unusable ones.
    pub(super) n_volumes: u32,
    pub(super) series_id: String,
    /// The file, or the first file of the folder.
    pub(super) first_path: PathBuf,
    /// The first volume, read ahead because `series_id` depends on it.
    first: Option<Bytes>,
    next_index: u32,
    input: Input,
    /// Counts unusable files.
    refused: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Input {
    File(Box<NiftiReader>),
    Folder { rest: VecDeque<Numbered> },
}

impl Current {
    /// Opens a file or a folder. The run holds at most `at_most` volumes; of a folder those files
    /// that match `pattern`. `refused` counts unusable files.
    ///
    /// # Errors
    ///
    /// Fails when the first volume cannot be read, the folder contains no volume, or a 4-D file is
    /// damaged.
    pub(super) fn open(
        path: &Path,
        pattern: Option<&str>,
        at_most: Option<u32>,
        refused: &Arc<AtomicU64>,
    ) -> Result<Self, AdapterError> {
        let refused = Arc::clone(refused);
        let malformed = |path: &Path, reason: &str| AdapterError::Malformed {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let is_folder = path.is_dir();
        let mut rest: VecDeque<Numbered> =
            if is_folder { volumes_in(path, pattern)?.into() } else { VecDeque::new() };
        let last = rest.back().map_or(0, |(index, _)| *index);
        let first_path = rest.pop_front().map_or_else(|| path.to_owned(), |(_, first)| first);
        let mut reader = NiftiReader::open(&first_path)?;
        let header = reader.header().clone();
        if is_folder && header.n_volumes > 1 {
            let reason = "a 4-D file, expected 3-D volumes in a folder: name 4-D files directly";
            return Err(malformed(&first_path, reason));
        }
        if let Some(warning) = &header.place_warning {
            tracing::warn!("{warning}");
        }
        if !is_folder && whole::check(reader.voxel_path(), &header)? == Whole::Growing {
            tracing::warn!(
                "this file is still being written: the volumes that are complete are passed on, and the \
                 run ends with an error"
            );
        }
        let first = reader.next_voxels()?;

        // Does not change when the adapter restarts, so that the daemon continues the run. The
        // adapter sends it only after hashing it with the session's salt.
        let (raw, file_bytes) = reader.fingerprint();
        let mut hash = blake3::Hasher::new();
        hash.update(raw).update(&file_bytes.to_le_bytes()).update(first.as_deref().unwrap_or(&[]));
        let series_id = hash.finalize().to_hex()[..16].to_owned();

        let n_volumes = if is_folder { last.saturating_add(1) } else { header.n_volumes };
        let n_volumes = at_most.map_or(n_volumes, |at_most| n_volumes.min(at_most));
        let input = if is_folder { Input::Folder { rest } } else { Input::File(Box::new(reader)) };
        Ok(Self { header, n_volumes, series_id, first_path, first, next_index: 0, input, refused })
    }

    /// The next usable volume; `None` after the last.
    ///
    /// # Errors
    ///
    /// Fails when a 4-D file ends early or cannot be read.
    pub(super) fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        if let Some(first) = self.first.take() {
            let header = self.header.clone();
            return Ok(Some(self.acquired(&header, first)));
        }
        while self.next_index < self.n_volumes {
            let path = match &mut self.input {
                Input::File(reader) => {
                    let header = reader.header().clone();
                    let voxels = reader.next_voxels()?;
                    return Ok(voxels.map(|voxels| self.acquired(&header, voxels)));
                }
                Input::Folder { rest } => match rest.pop_front() {
                    Some((index, path)) if index < self.n_volumes => {
                        self.next_index = index;
                        path
                    }
                    _ => return Ok(None),
                },
            };
            match one_volume(&path, &self.header) {
                Ok((header, voxels)) => return Ok(Some(self.acquired(&header, voxels))),
                Err(error) => {
                    tracing::warn!(index = self.next_index, %error, "volume skipped");
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    self.next_index += 1;
                }
            }
        }
        Ok(None)
    }

    fn acquired(&mut self, header: &NiftiHeader, voxels: Bytes) -> AcquiredVolume {
        let index = TrIndex(self.next_index);
        self.next_index += 1;
        AcquiredVolume {
            index,
            acquisition_time_s: None,
            dtype: header.stored.on_wire(),
            order: Order::F,
            slope: header.slope,
            intercept: header.intercept,
            scanner_wall_time: None,
            voxels,
        }
    }
}

/// The only volume of a file. Its matrix and affine must match the run.
fn one_volume(path: &Path, run: &NiftiHeader) -> Result<(NiftiHeader, Bytes), AdapterError> {
    let mut reader = NiftiReader::open(path)?;
    let header = reader.header().clone();
    header
        .space
        .check_is(&run.space)
        .map_err(|mismatch| AdapterError::Space { path: path.to_owned(), mismatch })?;
    match (header.n_volumes, reader.next_voxels()?) {
        (1, Some(voxels)) => Ok((header, voxels)),
        (n, _) => Err(AdapterError::Malformed {
            path: path.to_owned(),
            reason: format!("holds {n} volumes, expected 1"),
        }),
    }
}
