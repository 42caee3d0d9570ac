//! What damage and failed reads cost, anywhere in a file.

use std::io::{BufReader, Cursor};

use proptest::prelude::*;

use super::*;
use crate::recording::fixture::{record, session};

/// A recorded session, its entries, and the bytes of each entry's chunk.
struct Session {
    bytes: Vec<u8>,
    entries: Vec<(String, u64, Bytes)>,
    chunks: Vec<std::ops::Range<usize>>,
}

fn plain(entry: Entry) -> (String, u64, Bytes) {
    (entry.topic, entry.wall_ns, entry.data)
}

impl Session {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mcap");
        record(&path, &session());
        let bytes = std::fs::read(path).unwrap();
        let (entries, faults) = read(Cursor::new(bytes.clone())).unwrap();
        assert_eq!(faults, []);
        let n_byte = bytes.len() as u64;
        let mut chunks = Vec::new();
        let mut at = 0;
        while let Some(chunk) = search::next_chunk(&mut Cursor::new(&bytes), at, n_byte).unwrap() {
            let length = search::chunk_bytes(&bytes[chunk as usize..]).unwrap();
            at = chunk + length;
            chunks.push(chunk as usize..at as usize);
        }
        assert_eq!(chunks.len(), entries.len());
        Self { bytes, entries, chunks }
    }

    /// The entries whose chunk satisfies this.
    fn entries_if(
        &self,
        keep: impl Fn(&std::ops::Range<usize>) -> bool,
    ) -> Vec<(String, u64, Bytes)> {
        let both = self.entries.iter().zip(&self.chunks);
        both.filter(|(_, chunk)| keep(chunk)).map(|(entry, _)| entry.clone()).collect()
    }

    /// Fails unless damage of these bytes costs at most the entries of the chunks that hold them.
    fn check_damage(&self, damaged: &[u8], at: &[usize]) {
        let file = Cursor::new(damaged.to_vec());
        let (found, faults) = read(file).unwrap_or_else(|error| panic!("{error} at {at:?}"));
        let is_whole = |chunk: &std::ops::Range<usize>| !at.iter().any(|at| chunk.contains(at));
        let intact = self.entries_if(is_whole);
        let found_intact: Vec<_> =
            found.iter().filter(|entry| intact.contains(entry)).cloned().collect();
        assert_eq!(found_intact.len(), intact.len(), "bytes {at:?}: {faults:?}");
        assert!(found_intact == intact, "bytes {at:?}: in another order");
        for entry in &found {
            // A chunk whose damage its checksum does not cover is read whole.
            assert!(self.entries.contains(entry), "bytes {at:?}: {entry:?} was never written");
        }
        let lost = found.len() < self.entries.len();
        assert!(!lost || !faults.is_empty(), "bytes {at:?}: a loss that no fault names");
    }
}

type Found = (Vec<(String, u64, Bytes)>, Vec<Fault>);

fn read(file: impl Read + Seek) -> io::Result<Found> {
    let segment = Segment::open(file, Path::new("a.mcap"))?;
    let mut segment = segment.expect("a recording");
    let entries = segment.by_ref().map(plain).collect();
    Ok((entries, segment.faults().to_vec()))
}

/// A file that cannot be read from byte `bad` on.
struct BadFrom {
    file: Cursor<Vec<u8>>,
    bad: u64,
}

impl Read for BadFrom {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.bad.saturating_sub(self.file.position());
        let n_byte = self.file.get_ref().len() as u64;
        if left == 0 && self.file.position() < n_byte && !into.is_empty() {
            return Err(rustix::io::Errno::IO.into());
        }
        let n = into.len().min(usize::try_from(left).unwrap());
        self.file.read(&mut into[..n])
    }
}

impl Seek for BadFrom {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_failed_read_is_named_and_costs_nothing_before_it() {
    let session = Session::new();
    for bad in 0..session.bytes.len() {
        let file = || BadFrom { file: Cursor::new(session.bytes.clone()), bad: bad as u64 };
        for result in [read(file()), read(BufReader::new(file()))] {
            // The first bytes are read when the file is opened.
            let Ok((found, faults)) = result else {
                assert!(bad < MAGIC.len(), "byte {bad}");
                continue;
            };
            let before = session.entries_if(|chunk| chunk.end <= bad);
            assert!(found.starts_with(&before), "byte {bad}: {} entries", found.len());
            assert!(session.entries.starts_with(&found), "byte {bad}");
            let last = faults.last().map(|fault| &fault.kind);
            assert!(matches!(last, Some(FaultKind::Io { .. })), "byte {bad}: {faults:?}");
        }
    }
}

#[test]
fn a_damaged_byte_costs_the_chunk_that_holds_it_and_no_other() {
    let session = Session::new();
    for at in 0..session.bytes.len() {
        for flipped in [1 << (at % 8), 0xff] {
            let mut damaged = session.bytes.clone();
            damaged[at] ^= flipped;
            session.check_damage(&damaged, &[at]);
        }
    }
}

/// The session of a writer that was killed behind its last chunk and that chunk's index.
fn killed() -> (Session, usize) {
    let session = Session::new();
    let last = session.chunks.last().unwrap().end;
    // Opcode and length of the index, which is the only record behind the chunk.
    let length = u64::from_le_bytes(session.bytes[last + 1..last + 9].try_into().unwrap());
    let end = last + 9 + usize::try_from(length).unwrap();
    (Session { bytes: session.bytes[..end].to_vec(), ..session }, end)
}

fn is_cut_at(fault: &Fault, byte: usize) -> bool {
    matches!(fault.kind, FaultKind::Cut { at } if at == byte as u64)
}

#[test]
fn a_flipped_bit_in_the_last_chunk_of_a_killed_writer_is_damage_and_no_cut() {
    let (session, end) = killed();
    let last = session.chunks.last().unwrap().clone();
    let (found, faults) = read(Cursor::new(session.bytes.clone())).unwrap();
    assert_eq!(found, session.entries);
    assert!(faults.len() == 1 && is_cut_at(&faults[0], end), "{faults:?}");
    for n_zero in [0, 5000] {
        for (at, bit) in last.clone().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = session.bytes.clone();
            damaged[at] ^= 1 << bit;
            damaged.extend(vec![0; n_zero]);
            let (found, faults) = read(Cursor::new(damaged)).unwrap();
            // The times in the head of a chunk are not needed.
            let is_lost = found.len() < session.entries.len();
            assert_eq!(found, session.entries[..found.len()], "byte {at}, bit {bit}");
            let from = last.start as u64;
            let is_damage =
                matches!(faults[0].kind, FaultKind::Damaged { from: at, .. } if at == from);
            assert_eq!(is_damage, is_lost, "byte {at}, bit {bit}: {faults:?}");
        }
    }
}

#[test]
fn wherever_a_file_was_cut_or_not_written_nothing_is_called_damaged() {
    let (session, end) = killed();
    for length in MAGIC.len()..end {
        let whole = session.entries_if(|chunk| chunk.end <= length);
        let (found, faults) = read(Cursor::new(session.bytes[..length].to_vec())).unwrap();
        assert_eq!(found, whole);
        let is_cut = |fault: &Fault| matches!(fault.kind, FaultKind::Cut { .. });
        assert!(faults.iter().all(is_cut), "cut to {length} bytes: {faults:?}");
    }
    for from in (512..end).step_by(512) {
        let mut unwritten = session.bytes.clone();
        unwritten[from..].fill(0);
        unwritten.resize(end + 4096, 0);
        let (found, faults) = read(Cursor::new(unwritten)).unwrap();
        assert_eq!(found, session.entries_if(|chunk| chunk.end <= from));
        assert!(matches!(&faults[..], [Fault { kind: FaultKind::Cut { .. }, .. }]), "{faults:?}");
    }
}

#[test]
fn what_does_not_start_as_a_recording_is_damage_in_a_further_file_only() {
    let (session, end) = killed();
    let mut no_start = vec![0; 4096];
    no_start.extend(&session.bytes[session.chunks[0].end - 20..session.chunks[0].end]);
    let path = Path::new("a.003.mcap");
    for bytes in [vec![0; end], no_start, b"another file".to_vec(), vec![0; 3]] {
        let n_byte = bytes.len() as u64;
        let mut further = Segment::open_further(Cursor::new(bytes.clone()), path).unwrap();
        assert!(further.next().is_none());
        let kinds = further.faults().iter().map(|fault| &fault.kind).collect::<Vec<_>>();
        let [FaultKind::Damaged { from: 0, to, .. }] = kinds[..] else { panic!("{kinds:?}") };
        assert_eq!(*to, n_byte);
        let first = Segment::open(Cursor::new(bytes.clone()), path).unwrap();
        let is_zeros = bytes.iter().all(|byte| *byte == 0);
        assert_eq!(first.is_some(), is_zeros, "{n_byte} bytes");
        assert!(first.is_none_or(|first| is_cut_at(&first.faults()[0], 0)));
    }
}

proptest! {
    /// Damage in several places costs the chunks that hold it and no others.
    #[test]
    fn damage_in_several_places_costs_their_chunks_and_no_others(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), 1..=255_u8), 1..6),
    ) {
        static SESSION: std::sync::LazyLock<Session> = std::sync::LazyLock::new(Session::new);
        let mut damaged = SESSION.bytes.clone();
        let mut at = Vec::new();
        for (place, flipped) in places {
            let place = place.index(damaged.len());
            damaged[place] ^= flipped;
            at.push(place);
        }
        SESSION.check_damage(&damaged, &at);
    }
}
