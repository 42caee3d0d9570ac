//! The files of a recording: `session.mcap`, and `session.001.mcap`, `session.002.mcap` and so on
//! for each time the session was continued.
//!
//! A file is written once, from its start to its end. A restart writes the next file and leaves
//! the earlier ones as they are, so nothing that is on the disk can be lost to a restart.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// Most files of one recording.
const MAX_SEGMENTS: u32 = 1_000_000;

/// Path of a segment; number 0 is the recording itself.
#[must_use]
pub fn path_of(recording: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return recording.to_owned();
    }
    let stem = recording.file_stem().unwrap_or_default().to_string_lossy();
    let extension = recording.extension().map(|e| format!(".{}", e.to_string_lossy()));
    recording.with_file_name(format!("{stem}.{number:03}{}", extension.unwrap_or_default()))
}

/// The recording and number of a further segment: `a.002.mcap` is number 2 of `a.mcap`. `None` for
/// the name of a recording.
#[must_use]
pub fn parse(path: &Path) -> Option<(PathBuf, u32)> {
    let extension = path.extension()?;
    let stem = PathBuf::from(path.file_stem()?);
    let digits = stem.extension()?.to_str()?;
    if digits.len() < 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok().filter(|number| (1..MAX_SEGMENTS).contains(number))?;
    let mut name = stem.file_stem()?.to_owned();
    name.push(".");
    name.push(extension);
    Some((path.with_file_name(name), number))
}

/// The segments of a recording that exist, with their numbers, in order.
///
/// # Errors
///
/// Fails when the folder cannot be listed.
pub fn of(recording: &Path) -> std::io::Result<Vec<(u32, PathBuf)>> {
    let folder = recording.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let mut found = Vec::new();
    if recording.is_file() {
        found.push((0, recording.to_owned()));
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        // A folder may be passed but not listed: count up from the first segment.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let further = (1..MAX_SEGMENTS).map(|number| (number, path_of(recording, number)));
            found.extend(further.take_while(|(_, path)| path.is_file()));
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = recording.with_file_name(entry?.file_name());
        if let Some((of, number)) = parse(&path)
            && of == recording
            && path == path_of(recording, number)
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The first file that is missing before one of these segments.
#[must_use]
pub fn first_missing(recording: &Path, segments: &[(u32, PathBuf)]) -> Option<PathBuf> {
    let number = (0..).zip(segments).find(|(expected, (found, _))| expected != found)?.0;
    Some(path_of(recording, number))
}

/// The number after the newest segment.
#[must_use]
pub fn next_number(segments: &[(u32, PathBuf)]) -> u32 {
    segments.last().map_or(0, |(number, _)| number + 1)
}

/// Makes the name of a new file survive a power failure.
///
/// # Errors
///
/// Fails when the folder cannot be opened or synced.
pub fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_lead_back_to_their_recording() {
        let recording = Path::new("data/sub-01.ses-2.mcap");
        for number in [1, 7, 999, 1000, 123_456] {
            let path = path_of(recording, number);
            assert_eq!(parse(&path), Some((recording.to_owned(), number)), "{}", path.display());
        }
        assert_eq!(path_of(recording, 2), Path::new("data/sub-01.ses-2.002.mcap"));
        for name in ["a.mcap", "a.01.mcap", "a.000.mcap", "a.x01.mcap", "001.mcap", "a.001"] {
            assert_eq!(parse(Path::new(name)), None, "{name} is the name of a recording");
        }
    }

    #[test]
    fn segments_are_found_in_order_and_files_of_other_recordings_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("a.mcap");
        assert_eq!(of(&recording).unwrap(), []);
        for name in
            ["a.mcap", "a.1000.mcap", "a.002.mcap", "a.0003.mcap", "a.mcap.cut", "b.001.mcap"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let numbers: Vec<u32> = of(&recording).unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [0, 2, 1000]);
        let missing = first_missing(&recording, &of(&recording).unwrap());
        assert_eq!(missing, Some(folder.path().join("a.001.mcap")));
        let whole = [(0, recording.clone()), (1, path_of(&recording, 1))];
        assert_eq!(first_missing(&recording, &whole), None);
        assert_eq!(next_number(&of(&recording).unwrap()), 1001);
    }
}
