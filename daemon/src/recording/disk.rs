//! Free space on the disk of a recording.

use std::path::Path;

use crate::failpoint;

/// Free bytes on the disk of a file, which need not exist yet. `None` when the system does not
/// report it.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    if let Some(asked) = failpoint::free_bytes() {
        return Some(asked);
    }
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}
