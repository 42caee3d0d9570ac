//! Free space on the disk of a recording.

use std::path::Path;

/// Free bytes on the disk of a file, which need not exist yet. `None` when the system does not
/// report it.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}
