//! Whether a 4-D file is whole, before its first volume is passed on: a gzip file is known to be
//! damaged only when all of it has been read. Nothing of it is kept.
//!
//! A file that is still being written is not whole either. Its volumes are passed on as far as they
//! go, and the run ends with an error. So a file that ends early is looked at a second time.

use std::{
    io::{self, Read},
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use corticast_wire::{files, text::count};

use super::{
    header::NiftiHeader,
    reader::{MAX_REST_BYTES, unpacked},
};
use crate::error::AdapterError;

/// A file that did not change for so long is not being written.
const RECENT: Duration = Duration::from_secs(10);
/// A file that is being written grows within this time.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// The second look is divided into so many.
const LOOKS: u32 = 10;
const BUFFER_BYTES: usize = 1 << 18;

/// Whether the file of these voxels is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Yes,
    /// It ends early, and grows.
    Growing,
}

/// Reads the file to its end.
///
/// # Errors
///
/// Fails when it is damaged, or ends early and does not grow.
pub(super) fn check(path: &Path, header: &NiftiHeader) -> Result<Whole, AdapterError> {
    let io = |source| AdapterError::Io { path: path.to_owned(), source };
    let volume_bytes = header.volume_bytes() as u64;
    let expected = header
        .voxel_offset_bytes
        .saturating_add(volume_bytes.saturating_mul(header.n_volumes.into()));
    let before = state(path).map_err(io)?;
    let (found, error) = read(path, expected).map_err(io)?;
    let is_cut = error.as_ref().is_none_or(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    let n_whole = found.saturating_sub(header.voxel_offset_bytes) / volume_bytes.max(1);
    let n_whole = n_whole.min(header.n_volumes.into());
    let all = count(header.n_volumes.into(), "volume");
    let reason = match error {
        None if found >= expected => return Ok(Whole::Yes),
        _ if is_cut && is_growing(path, before).map_err(io)? => return Ok(Whole::Growing),
        None => {
            format!("it ends after {found} bytes, expected {expected}, with {n_whole} of {all}")
        }
        Some(error) if is_cut => {
            format!("{error} (`gzip -t` tells the same) after {n_whole} of {all}")
        }
        Some(error) => format!("{error} (`gzip -t` tells the same), so any voxel may be wrong"),
    };
    Err(AdapterError::Malformed {
        path: path.to_owned(),
        reason: format!(
            "this file is damaged or was cut: {reason}; nothing of it is passed on. Get the file \
             again from where it was made"
        ),
    })
}

/// Size and time of modification.
fn state(path: &Path) -> io::Result<(u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// Uncompressed bytes that can be read, up to a little more than expected, and why it is not more.
fn read(path: &Path, expected: u64) -> io::Result<(u64, Option<io::Error>)> {
    let mut file = files::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(2).read_to_end(&mut start)?;
    if start != [0x1f, 0x8b] {
        return Ok((file.metadata()?.len(), None));
    }
    let mut input = unpacked(files::open(path)?)?.take(expected.saturating_add(MAX_REST_BYTES));
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut found = 0;
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok((found, None)),
            Ok(n) => found += n as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok((found, Some(error))),
        }
    }
}

/// Whether a file has changed since it was in this state, or does so soon.
fn is_growing(path: &Path, before: (u64, Option<SystemTime>)) -> io::Result<bool> {
    let age = before.1.and_then(|modified| modified.elapsed().ok());
    if age.is_some_and(|age| age > RECENT) {
        return Ok(state(path)? != before);
    }
    for _ in 0..LOOKS {
        if state(path)? != before {
            return Ok(true);
        }
        thread::park_timeout(SECOND_LOOK / LOOKS);
    }
    Ok(state(path)? != before)
}
