//! Recovery: makes a whole file of a recording that was cut.
//!
//! A killed daemon, a power failure or a full disk leaves a file without its end. `corticast run`
//! with the same `--record` continues such a file by itself; recovery is for other tools, which
//! need a whole MCAP file. All readable entries are copied into a new file, which is read back
//! and compared before it replaces the old one. The old file stays beside it as `….cut`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    file::{RecordError, RecordingFile, beside},
    log::Log,
    reader::RecordingError,
};
use crate::signal::happening::Event;

/// Why a recording cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The copy cannot be written.
    #[error(transparent)]
    Copy(#[from] RecordError),
    /// The file to be written exists.
    #[error("{0} exists and is not overwritten; move it away or choose another name with --out")]
    Exists(PathBuf),
    /// The copy differs from the original, which is left unchanged.
    #[error("the copy {path} holds {found:?}, expected {expected:?}; check the disk for errors")]
    Differs {
        /// Path of the file.
        path: PathBuf,
        /// Contents of the copy.
        found: Counts,
        /// Readable contents of the original.
        expected: Counts,
    },
    /// A file cannot be moved.
    #[error("{path}: {source}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

/// Counts of what a recording holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries of any kind.
    pub n_entries: u64,
    /// Runs.
    pub n_runs: u64,
    /// Volumes, without duplicates.
    pub n_volumes: u64,
    /// Results.
    pub n_results: u64,
    /// Run and index of the last volume.
    pub last_volume: Option<(String, u32)>,
}

/// Outcome of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// The recording was whole. Nothing was done.
    Whole(Counts),
    /// The recording was cut.
    Repaired {
        /// Contents of the repaired file.
        kept: Counts,
        /// Why the recording ended early.
        cut: String,
        /// Path of the repaired file.
        file: PathBuf,
        /// Path of the cut file.
        original: PathBuf,
    },
}

/// Recovers a recording, in place or into `out`.
///
/// # Errors
///
/// Fails when the file is not a recording or is being written, or when the disk fails. The file
/// is then left unchanged.
pub fn recover(path: &Path, out: Option<&Path>) -> Result<Recovered, RecoverError> {
    let (kept, cut) = count(path)?;
    let Some(cut) = cut else { return Ok(Recovered::Whole(kept)) };
    let original = beside(path, ".cut");
    let (file, aside) = match out {
        Some(out) => (out, beside(out, ".part")),
        None => (path, beside(path, ".part")),
    };
    let in_the_way = out.unwrap_or(&original);
    if in_the_way.exists() {
        return Err(RecoverError::Exists(in_the_way.to_owned()));
    }
    let (copy, _) = RecordingFile::copy(path, &aside, |_| {})?;
    copy.finish()?;
    let (found, cut_again) = count(&aside)?;
    if found != kept || cut_again.is_some() {
        return Err(RecoverError::Differs { path: aside, found, expected: kept });
    }
    let moved = |source| RecoverError::Io { path: file.to_owned(), source };
    let original = match out {
        Some(_) => path.to_owned(),
        None => {
            // Linking first keeps a recording under the original name at every moment.
            fs::hard_link(path, &original)
                .or_else(|_| fs::rename(path, &original))
                .map_err(moved)?;
            original
        }
    };
    fs::rename(&aside, file).map_err(moved)?;
    Ok(Recovered::Repaired { kept, cut, file: file.to_owned(), original })
}

/// Counts of the readable part of a recording, and the reason for the cut if it was cut.
fn count(path: &Path) -> Result<(Counts, Option<String>), RecordingError> {
    let mut counts = Counts::default();
    let mut names = Vec::new();
    let mut log = Log::open(path)?;
    for (entry, events) in &mut log {
        counts.n_entries += 1;
        counts.n_results += u64::from(entry.topic == "concepts");
        for event in events {
            match event {
                Event::RunStarted(run) => names.push(run.name),
                Event::Volume(number, volume) => {
                    counts.n_volumes += 1;
                    let name = names[number.0].to_string();
                    counts.last_volume = Some((name, volume.header.index.0));
                }
                Event::Mark(..) | Event::RunEnded { .. } => {}
            }
        }
    }
    counts.n_runs = names.len() as u64;
    Ok((counts, log.cut().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{fixture, reader::Recording};

    fn entries(path: &Path) -> (Vec<(String, u64, Vec<u8>)>, bool) {
        let mut recording = Recording::open(path).unwrap();
        let entries = recording.by_ref().map(|e| (e.topic, e.wall_ns, e.data.to_vec())).collect();
        (entries, recording.cut().is_none())
    }

    #[test]
    fn wherever_a_recording_is_cut_what_came_before_is_whole_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        fixture::record(&path, &fixture::session());
        let bytes = fs::read(&path).unwrap();
        let (all, is_whole) = entries(&path);
        assert!(is_whole && all.len() == fixture::session().len());
        let out = folder.path().join("out.mcap");
        let mut lengths = std::collections::BTreeSet::new();
        // Every copy is synced, so only some lengths are tried; chunks are longer than a step.
        for length in (mcap::MAGIC.len()..bytes.len()).step_by(29).chain([bytes.len() - 1]) {
            fs::write(&path, &bytes[..length]).unwrap();
            let Recovered::Repaired { kept, .. } = recover(&path, Some(&out)).unwrap() else {
                panic!("cut to {length} bytes, it is not whole");
            };
            let (again, is_whole) = entries(&out);
            assert!(is_whole, "cut to {length} bytes");
            assert_eq!(again, all[..again.len()], "cut to {length} bytes");
            assert_eq!(kept.n_entries, again.len() as u64);
            mcap::Summary::read(&fs::read(&out).unwrap()).unwrap().unwrap();
            lengths.insert(again.len());
            fs::remove_file(&out).unwrap();
        }
        assert_eq!(lengths, (0..=all.len()).collect(), "every entry before the cut is kept");
    }

    #[test]
    fn in_place_the_cut_file_is_kept_and_a_whole_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        fixture::record(&path, &fixture::session());
        let bytes = fs::read(&path).unwrap();
        let Recovered::Whole(counts) = recover(&path, None).unwrap() else { panic!("it is whole") };
        assert_eq!((counts.n_runs, counts.n_volumes, counts.n_results), (2, 5, 3));
        assert_eq!(counts.last_volume, Some((fixture::AGAIN.to_owned(), 0)));
        assert_eq!(fs::read(&path).unwrap(), bytes);

        fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let Recovered::Repaired { kept, original, .. } = recover(&path, None).unwrap() else {
            panic!("it is cut")
        };
        assert_eq!(kept, counts);
        assert_eq!(fs::read(original).unwrap(), bytes[..bytes.len() - 9]);
        assert_eq!(recover(&path, None).unwrap(), Recovered::Whole(counts));

        fs::write(&path, &bytes[..100]).unwrap();
        assert!(matches!(recover(&path, None), Err(RecoverError::Exists(_))));
    }

    #[test]
    fn damage_in_the_middle_gives_out_nothing_that_was_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        fixture::record(&path, &fixture::session());
        let bytes = fs::read(&path).unwrap();
        let (all, _) = entries(&path);
        for at in (mcap::MAGIC.len()..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let (some, is_whole) = entries(&path);
            assert!(!is_whole, "damage at byte {at} goes unnoticed");
            let mut all = all.iter();
            let in_order = some.iter().all(|(_, _, data)| all.any(|(_, _, known)| data == known));
            assert!(in_order, "damage at byte {at} gives an entry that was never recorded");
        }
    }

    #[test]
    fn a_recording_that_is_being_written_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        let mut live = RecordingFile::open(&path, |_| {}).unwrap();
        live.write(crate::recording::format::SESSION, 0, b"{}").unwrap();
        live.flush(false).unwrap();
        let error = recover(&path, None).unwrap_err();
        assert!(error.to_string().contains("being written by another process"), "{error}");
        assert!(RecordingFile::open(&path, |_| {}).is_err());
        live.finish().unwrap();
        assert!(matches!(recover(&path, None).unwrap(), Recovered::Whole(_)));
    }
}
