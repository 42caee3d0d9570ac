//! The files that belong to an image: its sidecars and its events.
//!
//! They are found by the inheritance principle (BIDS 1.10, "Common principles"): first in the
//! image's folder, then in the folders above, up to the dataset's. A file applies if the image has
//! all its entities. An image whose name is no BIDS name has at most the file of its own name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{error::AdapterError, nifti::pair::pair_of};

/// Largest number of folders between an image and its sidecars.
const MAX_LEVELS_UP: usize = 4;

/// The files with this suffix (`bold.json`, `events.tsv`) that apply to the image, one list for each
/// folder that holds any: closest folder first, and in it the most specific file first.
///
/// # Errors
///
/// Fails when the image's own folder cannot be listed. Folders above that cannot be listed, as
/// `/home` on many clusters, are skipped.
pub(crate) fn inherited(image: &Path, suffix: &str) -> Result<Vec<Vec<PathBuf>>, AdapterError> {
    let Some(stem) = bold_stem(image) else {
        return Ok(own_sidecar(image, suffix).map(|path| vec![vec![path]]).unwrap_or_default());
    };
    let entities: Vec<&str> = stem.split('_').collect();
    let mut levels = Vec::new();
    let start = match image.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    for (level, folder) in start.ancestors().take(MAX_LEVELS_UP).enumerate() {
        // `ancestors` of a relative path ends with an empty one.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let paths = match entries(folder) {
            Err(AdapterError::Io { source, .. })
                if level > 0 && source.kind() == io::ErrorKind::PermissionDenied =>
            {
                tracing::info!(folder = %folder.display(), "no permission to list: skipped");
                Vec::new()
            }
            listed => listed?,
        };
        let mut here: Vec<(usize, PathBuf)> = paths
            .into_iter()
            .filter_map(|path| {
                let name = file_name(&path);
                let found = match name.strip_suffix(suffix)? {
                    "" => "",
                    entities => entities.strip_suffix('_')?,
                };
                let parts: Vec<&str> = found.split('_').filter(|part| !part.is_empty()).collect();
                parts.iter().all(|part| entities.contains(part)).then_some((parts.len(), path))
            })
            .collect();
        here.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        if !here.is_empty() {
            levels.push(here.into_iter().map(|(_, path)| path).collect());
        }
        // Files above the dataset do not belong to it.
        if folder.join("dataset_description.json").is_file() {
            break;
        }
    }
    Ok(levels)
}

/// The events that apply to an image, with a sidecar or without one; `None` for an image whose name
/// is no BIDS name.
///
/// # Errors
///
/// Fails when the image's own folder cannot be listed.
pub fn events_of(image: &Path) -> Result<Option<PathBuf>, AdapterError> {
    if bold_stem(image).is_none() {
        return Ok(None);
    }
    let Some(closest) = inherited(image, "events.tsv")?.into_iter().next() else {
        return Ok(None);
    };
    if let [used, other, ..] = closest.as_slice() {
        tracing::warn!(
            used = %used.display(), other = %other.display(),
            "two files of events apply in one folder, BIDS allows one: the more specific is used"
        );
    }
    Ok(closest.into_iter().next())
}

/// The files that are read with an image and exist: sidecars, events, and the other file of a pair.
#[must_use]
pub fn files_of(image: &Path) -> Vec<PathBuf> {
    // What cannot be listed is an error of the reader, which names it.
    let of = |suffix| inherited(image, suffix).unwrap_or_default().into_iter().flatten();
    let mut files: Vec<PathBuf> = of("bold.json").chain(of("events.tsv")).collect();
    if let Ok(Some((header, voxels))) = pair_of(image) {
        files.extend([header, voxels]);
    }
    files
}

/// The entities of a BIDS image of BOLD, e.g. `sub-01_task-movie`; `None` for other names.
pub(crate) fn bold_stem(image: &Path) -> Option<String> {
    let name = file_name(image);
    let stem = name.get(..name.len() - image_extension(&name)?.len())?;
    stem.strip_suffix("_bold").map(str::to_owned)
}

/// The extension of an image's name, in whatever case; `None` for other files.
pub(crate) fn image_extension(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    let found = [".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img"]
        .into_iter()
        .find(|extension| lower.ends_with(extension))?;
    name.get(name.len() - found.len()..)
}

/// `NAME.json` beside `NAME.nii.gz`, as dcm2niix writes it.
fn own_sidecar(image: &Path, suffix: &str) -> Option<PathBuf> {
    if suffix != "bold.json" {
        return None;
    }
    let name = file_name(image);
    let stem = name.get(..name.len() - image_extension(&name)?.len())?;
    Some(image.with_file_name(format!("{stem}.json"))).filter(|path| path.is_file())
}

pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, AdapterError> {
    let io = |source| AdapterError::Io { path: folder.to_owned(), source };
    fs::read_dir(folder)
        .map_err(io)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(io))
        .collect()
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_known_in_any_case() {
        assert_eq!(image_extension("A.NII.GZ"), Some(".NII.GZ"));
        assert_eq!(image_extension("a.img"), Some(".img"));
        assert_eq!(image_extension("a.json"), None);
        assert_eq!(bold_stem(Path::new("x/sub-01_task-a_bold.NII")).unwrap(), "sub-01_task-a");
        assert_eq!(bold_stem(Path::new("x/bold.nii")), None);
        assert_eq!(bold_stem(Path::new("é.nii")), None);
    }

    #[test]
    fn the_closest_and_most_specific_file_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let func = root.path().join("sub-01/func");
        fs::create_dir_all(&func).unwrap();
        for name in ["dataset_description.json", "task-a_bold.json", "task-b_bold.json"] {
            fs::write(root.path().join(name), "{}").unwrap();
        }
        for name in ["bold.json", "sub-01_task-a_bold.json", "sub-01_task-a_acq-x_bold.json"] {
            fs::write(func.join(name), "{}").unwrap();
        }
        let levels = inherited(&func.join("sub-01_task-a_bold.nii.gz"), "bold.json").unwrap();
        let names: Vec<Vec<String>> =
            levels.iter().map(|level| level.iter().map(|p| file_name(p)).collect()).collect();
        assert_eq!(names, [vec!["sub-01_task-a_bold.json", "bold.json"], vec!["task-a_bold.json"]]);
    }
}
