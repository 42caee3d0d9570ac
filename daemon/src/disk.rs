//! Whether the disk is large enough for what is planned, before it starts.

use std::path::Path;

use corticast_bold::run::RunHeader;

/// A recording of noise hardly compresses; messages and results add a little.
const OVERHEAD: f64 = 1.05;
/// Bytes of a voxel as scanners send it.
const BYTES_PER_VOXEL: f64 = 2.0;
/// Room that is left for everything else on the disk.
const RESERVE_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

/// Free bytes where a file is, or will be. `None` when the system does not say.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// Bytes that the rest of the session needs: this run and `n_more_runs` like it, of
/// `expected_volumes` each where the scanner does not say how many, with `result_bytes` beside
/// each volume.
#[must_use]
pub fn needed_bytes(
    header: &RunHeader,
    expected_volumes: u32,
    n_more_runs: u32,
    result_bytes: usize,
) -> f64 {
    let n_volumes = f64::from(header.n_volumes.unwrap_or(expected_volumes));
    let volume_bytes = header.space.n_voxel() as f64 * BYTES_PER_VOXEL + result_bytes as f64;
    volume_bytes * OVERHEAD * n_volumes * f64::from(1 + n_more_runs) + RESERVE_BYTES
}

/// What to tell the operator when the disk is too small.
#[must_use]
pub fn shortage(path: &Path, needed_bytes: f64) -> Option<String> {
    let free = free_bytes(path)? as f64;
    (free < needed_bytes).then(|| {
        format!(
            "the disk of {} has {:.2} GB free, the rest of the session needs {:.2} GB; make room, \
             or set disk_check = \"warn\" in [recording]",
            path.display(),
            free / 1e9,
            needed_bytes / 1e9
        )
    })
}
