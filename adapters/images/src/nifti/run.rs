//! One run from NIfTI files: a 4-D file, or the 3-D files of a folder.
//!
//! In a folder, an unusable file is logged and leaves a gap in the index. A truncated 4-D file
//! gives an error after its last complete volume.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use corticast_bold::{decode::Order, time::TrIndex};

use super::{header::NiftiHeader, reader::NiftiReader};
use crate::{acquired::AcquiredVolume, error::AdapterError, natural::natural};

/// The run that is being read.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) header: NiftiHeader,
    /// The run ends after this many volumes, including unusable ones.
    pub(super) n_volumes: u32,
    pub(super) series_id: String,
    /// The first volume, read ahead because `series_id` depends on it.
    first: Option<Bytes>,
    next_index: u32,
    input: Input,
}

#[derive(Debug)]
enum Input {
    File(Box<NiftiReader>),
    Folder { rest: VecDeque<PathBuf> },
}

impl Current {
    /// Opens a file or a folder. The run holds at most `at_most` volumes.
    ///
    /// # Errors
    ///
    /// Fails when the first volume cannot be read or the folder contains no volume.
    pub(super) fn open(path: &Path, at_most: Option<u32>) -> Result<Self, AdapterError> {
        let malformed = |path: &Path, reason: &str| AdapterError::Malformed {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let is_folder = path.is_dir();
        let mut rest: VecDeque<PathBuf> =
            if is_folder { volumes_in(path)?.into() } else { VecDeque::new() };
        let n_files = rest.len();
        let first_path = match (is_folder, rest.pop_front()) {
            (false, _) => path.to_owned(),
            (true, Some(first)) => first,
            (true, None) => return Err(malformed(path, "no .nii or .nii.gz file in this folder")),
        };
        let mut reader = NiftiReader::open(&first_path)?;
        let header = reader.header().clone();
        if is_folder && header.n_volumes > 1 {
            let reason = "a 4-D file, expected 3-D volumes in a folder: name 4-D files directly";
            return Err(malformed(&first_path, reason));
        }
        let first = reader.next_voxels()?;

        // Does not change when the adapter restarts, so that the daemon continues the run. The
        // adapter sends it only after hashing it with the session's salt.
        let (raw, file_bytes) = reader.fingerprint();
        let mut hash = blake3::Hasher::new();
        hash.update(raw).update(&file_bytes.to_le_bytes()).update(first.as_deref().unwrap_or(&[]));
        let series_id = hash.finalize().to_hex()[..16].to_owned();

        let n_volumes =
            if is_folder { u32::try_from(n_files).unwrap_or(u32::MAX) } else { header.n_volumes };
        let n_volumes = at_most.map_or(n_volumes, |at_most| n_volumes.min(at_most));
        let input = if is_folder { Input::Folder { rest } } else { Input::File(Box::new(reader)) };
        Ok(Self { header, n_volumes, series_id, first, next_index: 0, input })
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
                    Some(path) => path,
                    None => return Ok(None),
                },
            };
            match one_volume(&path, &self.header) {
                Ok((header, voxels)) => return Ok(Some(self.acquired(&header, voxels))),
                Err(error) => {
                    tracing::warn!(index = self.next_index, %error, "volume skipped");
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

/// The NIfTI files of a folder in natural order: `v2` before `v10`.
fn volumes_in(folder: &Path) -> Result<Vec<PathBuf>, AdapterError> {
    let io = |source| AdapterError::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && (name.ends_with(".nii") || name.ends_with(".nii.gz")) {
            names.push(name);
        }
    }
    names.sort_by(|a, b| natural(a, b));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
