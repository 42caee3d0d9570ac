//! File names for logs. People put patients' names into file names, so most are hashed.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::LazyLock,
};

use super::hash::short_hash;

/// The key of the names in the log: another one in each process, so that nobody who has the log
/// finds a name by hashing likely ones.
static LOG_KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A hash of the path, to identify the file.
pub(super) fn path_hash(path: &Path) -> u64 {
    short_hash(path.as_os_str().as_encoded_bytes())
}

/// The name of a file or folder for logs, as a hash that is the same within a process.
pub(super) fn hashed(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{:08x}", LOG_KEY.hash_one(name.as_bytes()) >> 32)
}

/// The name of a file for logs: `001_000013_000005.dcm` (session, series, volume) unchanged, any
/// other name as a hash that is the same within a process.
pub(super) fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split_once('.').map_or(&*name, |(stem, _)| stem);
    let numbers: Vec<&str> = stem.split('_').collect();
    let is_number = |n: &&str| n.len() <= 6 && n.bytes().all(|byte| byte.is_ascii_digit());
    let known_end = [".dcm", ".IMA", ".ima", ""].contains(&&name[stem.len()..]);
    if numbers.len() == 3 && numbers.iter().all(is_number) && known_end {
        return name.into_owned();
    }
    format!("file {}", hashed(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_numbers_are_shown() {
        assert_eq!(shown(Path::new("Doe/001_000013_000005.dcm")), "001_000013_000005.dcm");
        for name in ["Doe^Jane_000013_000005.dcm", "19800101.dcm", "1_2_3.Doe"] {
            let shown = shown(Path::new(name));
            assert!(shown.starts_with("file ") && shown.len() == 13, "{shown}");
        }
    }
}
