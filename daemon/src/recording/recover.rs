//! Recovery: makes one whole file of a recording that was cut or damaged, or has several segments.
//!
//! A killed daemon, a power failure or a full disk leaves a file without its end, and a restart
//! continues in the next segment. The tools of Corticast take such a recording as it is; recovery
//! is for other tools, which need one whole MCAP file. All readable entries are copied into a new
//! file, which is read back and compared before it replaces the recording. The old files stay
//! beside it as `….cut`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    file::{RecordError, RecordingFile, beside, check_new, lock},
    format::{TOPICS, WIRE},
    log::Log,
    reader::{Recording, RecordingError},
    segments,
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
    /// The recording is one whole file. Nothing was done.
    Whole(Counts),
    /// A whole file was made.
    Repaired {
        /// Contents of the whole file.
        kept: Counts,
        /// What was wrong with the recording.
        found: String,
        /// Path of the whole file.
        file: PathBuf,
        /// Paths of the files it was made from.
        originals: Vec<PathBuf>,
    },
}

/// Recovers a recording, in place or into `out`.
///
/// # Errors
///
/// Fails when a file is not a recording or is being written, or when the disk fails. The files
/// are then left unchanged.
pub fn recover(path: &Path, out: Option<&Path>) -> Result<Recovered, RecoverError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoverError::Io { path, source }
    };
    let Counted { counts: kept, is_whole, found, n_segment } = count(path)?;
    if is_whole && n_segment == 1 {
        return Ok(Recovered::Whole(kept));
    }
    let files: Vec<_> =
        segments::of(path).map_err(io(path))?.into_iter().map(|(_, path)| path).collect();
    let _not_written_meanwhile = files.first().map(|first| lock(first)).transpose()?;
    let originals: Vec<_> = match out {
        Some(_) => files.clone(),
        None => files.iter().map(|file| beside(file, ".cut")).collect(),
    };
    let in_the_way = match out {
        Some(out) => Some(out.to_owned()).filter(|out| out.exists()),
        None => originals.iter().find(|original| original.exists()).cloned(),
    };
    if let Some(exists) = in_the_way {
        return Err(RecoverError::Exists(exists));
    }
    if let Some(out) = out {
        check_new(out)?;
    }
    let file = out.unwrap_or(path);
    let aside = beside(file, ".part");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io(&aside)(error));
        }
        _ => {}
    }
    copy(path, &aside)?;
    let again = count(&aside)?;
    if again.counts != kept || !again.is_whole {
        return Err(RecoverError::Differs { path: aside, found: again.counts, expected: kept });
    }
    if out.is_none() {
        // First every file gets its second name; then the further segments lose their first, the
        // last one first. At each moment the names lead to all bytes, and to a recording.
        for (file, original) in files.iter().zip(&originals) {
            if fs::hard_link(file, original).is_err() {
                fs::copy(file, original).map_err(io(original))?;
            }
        }
        for file in files.iter().rev().filter(|file| *file != path) {
            fs::remove_file(file).map_err(io(file))?;
        }
    }
    fs::rename(&aside, file).map_err(io(file))?;
    segments::sync_folder(file).ok();
    Ok(Recovered::Repaired { kept, found, file: file.to_owned(), originals })
}

/// Copies all readable entries of a recording into one new file.
fn copy(from: &Path, to: &Path) -> Result<(), RecoverError> {
    let mut copy = RecordingFile::create(to)?;
    for entry in &mut Recording::open(from)? {
        let topic = TOPICS.iter().map(|(name, _)| *name).find(|name| *name == entry.topic);
        if let Some(topic) = topic {
            copy.write(topic, entry.wall_ns, &entry.data)?;
            if topic == WIRE {
                // Chunks as short as the recorder's: damage costs as little as before.
                copy.flush(false)?;
            }
        }
    }
    Ok(copy.finish()?)
}

/// What a recording holds, and what is wrong with it.
struct Counted {
    counts: Counts,
    is_whole: bool,
    found: String,
    n_segment: usize,
}

/// Counts the readable part of a recording.
fn count(path: &Path) -> Result<Counted, RecordingError> {
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
    let recording = log.recording();
    recording.check_read()?;
    let (is_whole, n_segment) = (recording.faults().is_empty(), recording.n_segment());
    let found = match (is_whole, n_segment) {
        (false, _) => recording.faults().to_string(),
        (true, n) => format!("it has {n} segments"),
    };
    Ok(Counted { counts, is_whole, found, n_segment })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{fixture, reader::Recording};

    fn entries(path: &Path) -> (Vec<(String, u64, Vec<u8>)>, bool) {
        let mut recording = Recording::open(path).unwrap();
        let entries = recording.by_ref().map(|e| (e.topic, e.wall_ns, e.data.to_vec())).collect();
        (entries, recording.is_whole())
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
        let Recovered::Repaired { kept, originals, .. } = recover(&path, None).unwrap() else {
            panic!("it is cut")
        };
        assert_eq!(kept, counts);
        assert_eq!(fs::read(&originals[0]).unwrap(), bytes[..bytes.len() - 9]);
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
    fn a_new_recording_is_never_joined_with_files_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a.mcap", "b.mcap"].map(|name| folder.path().join(name));
        fixture::record(&path, &fixture::session());
        fixture::record(&path, &fixture::session());
        fs::write(folder.path().join("b.001.mcap"), "of another session").unwrap();
        for out in [&other, &folder.path().join("a.007.mcap")] {
            let error = recover(&path, Some(out)).unwrap_err().to_string();
            assert!(error.contains("for one recording; move it away"), "{error}");
            assert!(check_new(out).is_err() && !out.exists());
        }
        let error = RecordingFile::open(&folder.path().join("a.007.mcap")).err().unwrap();
        assert!(error.to_string().contains("is a further segment of"), "{error}");
        check_new(&folder.path().join("c.mcap")).unwrap();
    }

    #[test]
    fn a_recording_that_is_being_written_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        let mut live = RecordingFile::open(&path).unwrap();
        live.write(crate::recording::format::SESSION, 0, b"{}").unwrap();
        live.flush(false).unwrap();
        let error = recover(&path, None).unwrap_err();
        assert!(error.to_string().contains("being written by another process"), "{error}");
        assert!(RecordingFile::open(&path).is_err());
        live.finish().unwrap();
        assert!(matches!(recover(&path, None).unwrap(), Recovered::Whole(_)));
    }
}
