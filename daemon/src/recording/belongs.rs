//! Which files of a recording's name belong to its session.
//!
//! Every description of a session holds the number of its recording: the instance of the daemon that
//! began it. A process starts its segment with a description, so a file that was copied from another
//! session tells by its first entry. A segment that a process went on in starts with another entry
//! and belongs where the one before it belongs.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{format::SESSION, segment::Segment};

/// Key of a description: the number of the recording.
pub const RECORDING: &str = "recording";

/// What a file says about where it belongs.
enum Start {
    /// It starts with a description.
    Session(Value),
    /// It goes on where the file before was full.
    GoesOn,
    /// Its start is damaged, cut or cannot be read.
    Unknown,
}

impl Start {
    fn of(path: &Path) -> Self {
        let Ok(file) = File::open(path) else { return Self::Unknown };
        let Ok(mut segment) = Segment::open_further(BufReader::new(file), path) else {
            return Self::Unknown;
        };
        let first = segment.next();
        match first.filter(|_| segment.faults().is_empty()) {
            None => Self::Unknown,
            Some(entry) if entry.topic == SESSION => {
                serde_json::from_slice(&entry.data).map_or(Self::Unknown, Self::Session)
            }
            Some(_) => Self::GoesOn,
        }
    }

    fn number(&self) -> Option<&str> {
        match self {
            Self::Session(session) => session.get(RECORDING)?.as_str(),
            _ => None,
        }
    }
}

/// The number of a recording that consists of these files. Older versions recorded none: the
/// instance in the first file is the number then.
fn number_of(starts: &[(u32, Start)]) -> Option<String> {
    let instance = |start: &Start| match start {
        Start::Session(session) => Some(session.get("instance")?.as_str()?.to_owned()),
        _ => None,
    };
    let of = |(at, start): &(u32, Start)| {
        let number = start.number().map(str::to_owned);
        number.or_else(|| (*at == 0).then(|| instance(start)).flatten())
    };
    starts.iter().find_map(of)
}

/// Separates the files of a recording's name into those of its session and those of another one.
/// Also returns the number of the recording, if a file gives it.
pub(super) fn separate(
    files: Vec<(u32, PathBuf)>,
) -> (Vec<(u32, PathBuf)>, Vec<PathBuf>, Option<String>) {
    let starts: Vec<_> = files.iter().map(|(at, path)| (*at, Start::of(path))).collect();
    let number = number_of(&starts);
    let (mut own, mut others, mut is_other) = (Vec::new(), Vec::new(), false);
    for ((at, path), (_, start)) in files.into_iter().zip(&starts) {
        is_other = match start {
            Start::GoesOn => is_other,
            Start::Session(_) | Start::Unknown => {
                start.number().is_some_and(|found| number.as_deref() != Some(found))
            }
        };
        if is_other {
            others.push(path);
        } else {
            own.push((at, path));
        }
    }
    (own, others, number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recording::{file::RecordingFile, format::WIRE, reader::Recording, segments};

    /// Adds a segment with these entries to a recording.
    fn segment(path: &Path, entries: &[(&'static str, String)]) {
        let mut file = RecordingFile::open(path).unwrap();
        for (at, (topic, data)) in (0..).zip(entries) {
            file.write(topic, at, data.as_bytes()).unwrap();
            file.flush(false).unwrap();
        }
        file.finish().unwrap();
    }

    fn session(instance: &str, recording: Option<&str>) -> (&'static str, String) {
        let mut session = json!({ "instance": instance });
        if let Some(number) = recording {
            session[RECORDING] = json!(number);
        }
        (SESSION, session.to_string())
    }

    fn message(text: &str) -> (&'static str, String) {
        (WIRE, text.to_owned())
    }

    #[test]
    fn a_segment_of_another_session_is_named_and_not_used() {
        // As this version records it, and as older versions did.
        for number in [Some("a1"), None] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s.mcap");
            segment(&path, &[session("a1", number), message("0")]);
            segment(&path, &[session("a2", number), message("1")]);
            segment(&path, &[message("2")]);
            segment(&path, &[session("b1", Some("b1")), message("another")]);
            segment(&path, &[message("another")]);
            segment(&path, &[session("a3", Some("a1")), message("3")]);
            let mut recording = Recording::open(&path).unwrap();
            let found: Vec<_> = recording.by_ref().filter(|entry| entry.topic == WIRE).collect();
            let texts: Vec<_> = found.iter().map(|entry| entry.data.to_vec()).collect();
            assert_eq!(texts, [b"0", b"1", b"2", b"3"]);
            assert!(!recording.is_whole());
            let faults = recording.faults().to_string();
            for at in [3, 4] {
                let name = segments::path_of(&path, at).display().to_string();
                assert!(faults.contains(&format!("{name} belongs to another session")), "{faults}");
            }
            assert!(!faults.contains("s.005.mcap") && !faults.contains("is missing"), "{faults}");
        }
    }

    #[test]
    fn a_recording_whose_first_file_is_lost_keeps_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.mcap");
        for instance in ["a1", "a2", "a3"] {
            segment(&path, &[session(instance, Some("a1")), message(instance)]);
        }
        std::fs::write(&path, vec![0; 5000]).unwrap();
        let (own, others, number) = separate(segments::of(&path).unwrap());
        assert_eq!((own.len(), others.len(), number.as_deref()), (3, 0, Some("a1")));
    }
}
