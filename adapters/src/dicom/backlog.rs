//! The files that are in the folder when the adapter starts: which are read, and in which order.
//!
//! With `--once` that is every file, in order of acquisition. Only headers are read to find this
//! order. When the folder is watched, the scanner goes on with the series that it acquired last,
//! so only the files of that series are sent. They are found from the newest file backwards,
//! by reading a few dozen headers, however many files the folder holds.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    clock::Moment,
    error::DicomError,
    image::Image,
    polling::Version,
    tree::{MAX_DEPTH, Tree},
    watch::Pattern,
};

/// First part of a file that is read for its header. Siemens headers have about 100 kB.
const HEADER_BYTES: u64 = 128 << 10;
/// Largest part of a file that is read for its header.
const MAX_HEADER_BYTES: u64 = 8 << 20;
/// Newest images by which the series being acquired is recognised.
const NEWEST_IMAGES: usize = 16;
/// Two series whose newest images were acquired within this time, in microseconds, can be the two
/// copies that a scanner writes when it corrects motion.
const BESIDE_US: i64 = 60_000_000;
/// Newest files among which these images are looked for; others may be incomplete.
const NEWEST_FILES: usize = 64;
/// Neighbours that stand in for a file that is not an image.
const NEIGHBOURS: usize = 8;
/// Up to this many files are sorted by header; more, by time of modification.
const SORTED_BY_HEADER: usize = 2000;

/// A file of the folder.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path within the folder.
    pub(super) name: OsString,
    /// Its size and modification time.
    pub(super) version: Version,
}

/// The files whose names match, in a folder and those below it (`tree`). No file is opened.
///
/// # Errors
///
/// Fails when the folder cannot be read.
pub(super) fn list(folder: &Path, pattern: &Pattern) -> io::Result<Vec<Found>> {
    Tree::open(folder, pattern, None).map(|(_, found)| found)
}

/// What to tell when there is no file to read.
pub(super) fn nothing_here(folder: &Path, pattern: &str) -> String {
    let n_other = list(folder, &Pattern::new("*")).map_or(0, |found| found.len());
    let (mut n_folder, mut n_deeper) = (0, 0);
    let mut level = vec![folder.to_owned()];
    for depth in 0..=MAX_DEPTH + 1 {
        let entries = level.iter().flat_map(fs::read_dir).flatten().flatten();
        let (below, files): (Vec<_>, Vec<_>) =
            entries.map(|entry| entry.path()).partition(|path| path.is_dir());
        if depth <= MAX_DEPTH {
            n_folder += below.len();
        } else {
            n_deeper = files.len();
        }
        level = below;
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let folders = count(n_folder, "folder");
    match (n_other, n_folder, n_deeper) {
        (0, 0, _) => "no file here, the folder is empty".to_owned(),
        (0, _, 0) => format!("no file here, {folders} without files"),
        (0, _, deeper) => format!(
            "no file here or in the folders up to {MAX_DEPTH} levels below, {} further down: name \
             a folder nearer to them",
            count(deeper, "file")
        ),
        (others, ..) => {
            let others = count(others, "file");
            format!("no file here matches --pattern {pattern}: {others} of other names, {folders}")
        }
    }
}

/// All files in order of acquisition: by time of the series, then by number. Files that are not
/// images come last.
pub(super) fn all(folder: &Path, found: &[Found]) -> Vec<PathBuf> {
    by_header(found.iter().map(|file| folder.join(&file.name)).collect())
}

/// The files of the series that was acquired last, in order of acquisition. With `number`, only
/// series of this number count.
pub(super) fn last_series(
    folder: &Path,
    mut found: Vec<Found>,
    number: Option<u32>,
) -> Vec<PathBuf> {
    found.sort_by(|a, b| (a.version.1, &a.name).cmp(&(b.version.1, &b.name)));
    let paths: Vec<PathBuf> = found.iter().map(|file| folder.join(&file.name)).collect();
    let image_at = |at: usize| {
        let image = header(&paths[at]).ok()?;
        (number.is_none() || image.scan.series_number == number).then_some(image)
    };
    let series_at = |at: usize| Some(image_at(at)?.scan.series_id);
    let newest = (0..paths.len()).rev().take(NEWEST_FILES).filter_map(image_at);
    let series = being_acquired(&newest.take(NEWEST_IMAGES).collect::<Vec<_>>());
    let belongs = |at: usize| {
        let nearest = (0..=at).rev().take(NEIGHBOURS).find_map(series_at);
        nearest.is_some_and(|id| series.contains(&id))
    };
    // The last file known not to belong, found in steps that double, then by bisection.
    let mut first = paths.len().saturating_sub(NEWEST_FILES);
    let mut before = None;
    let mut step = 1;
    while first > 0 && before.is_none() {
        let probe = first.saturating_sub(step);
        if belongs(probe) {
            first = probe;
        } else {
            before = Some(probe);
        }
        step *= 2;
    }
    while let Some(outside) = before.filter(|outside| first - outside > 1) {
        let middle = outside + (first - outside) / 2;
        if belongs(middle) {
            first = middle;
        } else {
            before = Some(middle);
        }
    }
    let last = paths[first..].to_vec();
    if last.len() > SORTED_BY_HEADER {
        return last;
    }
    // The newest files can begin before the series does.
    let is_other =
        |path: &PathBuf| header(path).is_ok_and(|image| !series.contains(&image.scan.series_id));
    by_header(last.into_iter().filter(|path| !is_other(path)).collect())
}

/// The series of the newest image, and series that are written by turns with it: one has an image
/// between two of its images, or was acquired at the same time.
fn being_acquired(newest_first: &[Image]) -> HashSet<String> {
    let Some(newest) = newest_first.first() else { return HashSet::new() };
    let is_same = |image: &&Image| image.scan.series_id == newest.scan.series_id;
    let last = newest_first.iter().rposition(|image| is_same(&image)).unwrap_or(0);
    let times = || newest_first.iter().filter(is_same).filter_map(|image| image.scan.time);
    let (begin, end) = (times().min(), times().max());
    let is_beside = |image: &Image| match (begin, end, image.scan.time) {
        (Some(begin), Some(Moment { day, us }), Some(time)) => {
            time >= begin && time <= Moment { day, us: us.saturating_add(BESIDE_US) }
        }
        _ => false,
    };
    let by_turns = newest_first.iter().enumerate().filter(|(at, i)| *at <= last || is_beside(i));
    by_turns.map(|(_, image)| image.scan.series_id.clone()).collect()
}

fn by_header(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut starts: HashMap<String, (Moment, Option<i64>, Option<u32>)> = HashMap::new();
    let mut sorted: Vec<_> = files
        .into_iter()
        .map(|path| {
            let known = header(&path).ok().map(|Image { scan, .. }| {
                let time = scan.time.unwrap_or(Moment { day: 0, us: 0 });
                let echo = scan.echo.time_ms.map(|ms| (ms * 100.0) as i64);
                let start = (time, echo, scan.series_number);
                let first = starts.entry(scan.series_id.clone()).or_insert(start);
                *first = start.min(*first);
                // Numbers that are all the same leave it to the time.
                let number = scan.numbers.temporal.or(scan.numbers.acquisition);
                (scan.series_id, (number, time, scan.numbers.instance, echo))
            });
            (path, known)
        })
        .collect();
    sorted.sort_by_cached_key(|(path, known)| {
        let place = known.as_ref().map(|(series, place)| (starts[series], series.clone(), *place));
        (place.is_none(), place, path.clone())
    });
    sorted.into_iter().map(|(path, _)| path).collect()
}

/// The header of an image; its voxels are not read.
///
/// # Errors
///
/// Fails when the file cannot be read or does not begin as an image.
pub(super) fn header(path: &Path) -> Result<Image, DicomError> {
    let unreadable = |_| DicomError::Element { at: 0, reason: "the file cannot be read" };
    let mut bytes = Vec::new();
    let mut wanted = HEADER_BYTES;
    // Checked before opening, because opening a pipe would block.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(DicomError::NotDicom);
    }
    let mut file = File::open(path).map_err(unreadable)?;
    loop {
        let more = wanted - bytes.len() as u64;
        let read = (&mut file).take(more).read_to_end(&mut bytes).map_err(unreadable)?;
        match Image::header(&bytes) {
            Err(error) if error.is_incomplete() && read as u64 == more => {
                if wanted >= MAX_HEADER_BYTES {
                    return Err(error);
                }
                wanted *= 2;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::dicom::fixture;

    /// Writes an image that was modified this many seconds after the first.
    fn write(folder: &Path, name: &str, bytes: &[u8], second: u64) {
        fs::write(folder.join(name), bytes).unwrap();
        let file = File::options().append(true).open(folder.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second))
            .unwrap();
    }

    fn series(folder: &Path, prefix: &str, fixture: &str, numbers: std::ops::Range<u32>, at: u64) {
        for number in numbers.clone() {
            let bytes = fixture::volume(fixture, number, &[]);
            let second = at + u64::from(number - numbers.start);
            write(folder, &format!("{prefix}{number:04}"), &bytes, second);
        }
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn only_the_series_acquired_last_is_sent_and_an_incomplete_file_with_it() {
        let folder = tempfile::tempdir().unwrap();
        series(folder.path(), "old", "prisma", 1..150, 0);
        series(folder.path(), "new", "skyra", 1..120, 1000);
        write(folder.path(), "notes.txt", b"not an image", 1050);
        let cut = &fixture::volume("skyra", 120, &[])[..9000];
        write(folder.path(), "new0120", cut, 2000);
        let found = list(folder.path(), &Pattern::new("*")).unwrap();
        let sent = last_series(folder.path(), found, None);
        let images = (1..120).map(|number| format!("new{number:04}"));
        let expected: Vec<_> =
            images.chain(["new0120".to_owned(), "notes.txt".to_owned()]).collect();
        assert_eq!(names(&sent), expected);
    }

    #[test]
    fn a_few_new_images_are_told_from_the_many_before_them() {
        let folder = tempfile::tempdir().unwrap();
        series(folder.path(), "old", "prisma", 1..30, 0);
        let found = || list(folder.path(), &Pattern::new("*")).unwrap();
        for n_new in [1, 2, 12, 40] {
            series(folder.path(), "new", "skyra", 1..n_new + 1, 1000);
            let sent = last_series(folder.path(), found(), None);
            assert_eq!(names(&sent).len(), n_new as usize, "{sent:?}");
            assert!(names(&sent).iter().all(|name| name.starts_with("new")), "{sent:?}");
        }
        assert!(last_series(folder.path(), Vec::new(), None).is_empty());
    }

    #[test]
    fn two_series_written_by_turns_are_both_being_acquired() {
        let folder = tempfile::tempdir().unwrap();
        series(folder.path(), "old", "prisma", 1..30, 0);
        let uid = format!("{}.7", fixture::text_of("skyra", fixture::SERIES_INSTANCE_UID));
        for number in 1..6 {
            let second = 1000 + 2 * u64::from(number);
            let bytes = fixture::volume("skyra", number, &[]);
            write(folder.path(), &format!("a{number}"), &bytes, second);
            let edits = [(fixture::SERIES_INSTANCE_UID, uid.as_str())];
            let bytes = fixture::volume("skyra", number, &edits);
            write(folder.path(), &format!("moco{number}"), &bytes, second + 1);
            let found = list(folder.path(), &Pattern::new("*")).unwrap();
            let sent = last_series(folder.path(), found, None);
            assert_eq!(sent.len(), 2 * number as usize, "{sent:?}");
        }
    }
}
