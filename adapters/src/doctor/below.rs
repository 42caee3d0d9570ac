//! The folders below the one that was named: whether images lie there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{dicom::doctor::is_image, parrec::is_pair};

/// Scanners export into folders of folders: of the day, the patient, the series.
const DEPTH: usize = 3;
/// Folders that are looked into.
const MAX_FOLDERS: usize = 2000;
/// Files of each of them that are opened, the newest.
const TRIED: usize = 4;

/// The folders below that hold images.
pub(super) struct Below {
    /// The one with the newest image.
    pub(super) newest: PathBuf,
    /// How many there are.
    pub(super) n_folder: usize,
    /// How many levels below the newest one lies.
    pub(super) level: usize,
}

/// Looks into the folders below. `None` when none of them holds an image.
pub(super) fn look(folder: &Path) -> Option<Below> {
    let (mut found, mut n_seen) = (Vec::new(), 0);
    let mut level = vec![folder.to_owned()];
    for depth in 1..=DEPTH {
        let below: Vec<PathBuf> = level.iter().flat_map(|folder| folders_in(folder)).collect();
        for folder in &below {
            n_seen += 1;
            if n_seen > MAX_FOLDERS {
                break;
            }
            if let Some(newest) = newest_image(folder) {
                found.push((newest, depth, folder.clone()));
            }
        }
        level = below;
    }
    let n_folder = found.len();
    let (_, level, newest) = found.into_iter().max_by_key(|(newest, ..)| *newest)?;
    Some(Below { newest, n_folder, level })
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// When the newest image of a folder was written.
fn newest_image(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let metadata = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
            Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
        })
        .collect();
    files.sort();
    let tried = files.iter().rev().take(TRIED);
    tried.clone().find(|(_, path)| is_pair(path) || is_image(path)).map(|(time, _)| *time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_that_was_written_last_is_found_some_levels_below() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, second: u64| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + second);
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        assert!(look(root.path()).is_none());
        write("20260101/a/1.par", 1);
        write("20260101/b/1.PAR", 9);
        write("20260102/notes.txt", 20);
        let below = look(root.path()).unwrap();
        assert_eq!((below.n_folder, below.level), (2, 2));
        assert_eq!(below.newest, root.path().join("20260101/b"));
    }
}
