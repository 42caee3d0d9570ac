//! What a recording promises on a disk that fails at any point.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_wire::{
    message::{Ack, DaemonPing, Durability, Encoding, ToAdapter},
    socket::PeerId,
};
use rustix::io::Errno;
use tempfile::tempdir;

use super::{Failure, Faults, FaultyDisk};
use crate::{
    intake::recorded::Recorded,
    metrics::Metrics,
    recording::{
        file::{RecordError, RecordingFile},
        format::{COMMAND, WIRE},
        reader::Recording,
        recorder::{Answer, Record, Recorder, Ticket},
        room::Kind,
        segments,
    },
    signal::happening::RunNumber,
    supervise::Supervisor,
};

/// Entries of the small session; three to a segment.
const N_ENTRY: u64 = 7;

fn data(entry: u64) -> Vec<u8> {
    format!("entry {entry} {}", "x".repeat(entry as usize)).into_bytes()
}

/// Records a small session. Returns how many entries were flushed, and whether it was finished.
fn record(disk: &FaultyDisk, path: &Path) -> (u64, Result<(), RecordError>) {
    let mut flushed = 0;
    let mut write = || {
        let disk = Arc::new(disk.clone());
        let mut file = RecordingFile::open_on(disk, path)?.divided_after(3);
        for entry in 0..N_ENTRY {
            file.write(WIRE, entry, &data(entry))?;
            // The second entry shares a chunk with the first.
            if entry != 0 {
                file.flush(entry % 2 == 0)?;
                flushed = entry + 1;
            }
        }
        file.finish()
    };
    let result = write();
    (flushed, result)
}

fn read(path: &Path) -> Vec<Vec<u8>> {
    let Ok(mut recording) = Recording::open(path) else { return Vec::new() };
    let entries = recording.by_ref().map(|entry| entry.data.to_vec()).collect();
    recording.check_read().unwrap();
    assert!(!recording.faults().is_damaged(), "{}", recording.faults());
    entries
}

/// Records on a disk with these faults, checks what can be read, and continues the session.
fn check(faults: Faults) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.mcap");
    let disk = FaultyDisk::new(faults);
    let (flushed, result) = record(&disk, &path);
    assert!(result.is_err() || !disk.has_failed(), "{faults:?}: an error was lost");
    for (_, file) in segments::of(&path).unwrap() {
        let n_byte = std::fs::metadata(&file).unwrap().len();
        assert!(n_byte > mcap::MAGIC.len() as u64, "{faults:?}: {} is empty", file.display());
    }
    let kept = read(&path);
    let all: Vec<_> = (0..N_ENTRY).map(data).collect();
    assert!(all.starts_with(&kept), "{faults:?}: {} entries, others or in disorder", kept.len());
    let promised = if result.is_ok() { N_ENTRY } else { flushed };
    assert!(kept.len() as u64 >= promised, "{faults:?}: {} of {promised} entries", kept.len());

    // With room on the disk, a restart continues where this one ended.
    let mut file = RecordingFile::open(&path).unwrap();
    file.write(WIRE, 99, b"continued").unwrap();
    file.finish().unwrap();
    let again = read(&path);
    assert_eq!(again.split_last(), Some((&b"continued".to_vec(), kept.as_slice())), "{faults:?}");
}

const NO_FAULTS: Faults = Faults {
    failure: Failure::Nothing,
    errno: Errno::NOSPC,
    is_lasting: true,
    most_bytes: usize::MAX,
};

/// Bytes, syncs and files of the small session.
fn counts() -> [u64; 3] {
    let folder = tempdir().unwrap();
    let disk = FaultyDisk::new(NO_FAULTS);
    record(&disk, &folder.path().join("a.mcap")).1.unwrap();
    disk.counts()
}

#[test]
fn what_was_flushed_is_readable_wherever_a_write_fails() {
    let [n_byte, _, n_file] = counts();
    assert!(n_byte > 1000 && n_file == 3, "{n_byte} bytes, {n_file} files");
    for at in (0..n_byte).step_by(2) {
        let failure = Failure::Write(at);
        let most_bytes = if at % 4 == 0 { usize::MAX } else { 1 + (at % 61) as usize };
        check(Faults { failure, most_bytes, ..NO_FAULTS });
        // A write that fails once, as on a share.
        if at % 10 == 0 {
            check(Faults { failure, errno: Errno::IO, is_lasting: false, most_bytes });
        }
    }
}

#[test]
fn what_was_flushed_is_readable_whichever_sync_or_new_file_fails() {
    let [_, n_sync, n_file] = counts();
    let syncs = (0..n_sync).map(Failure::Sync);
    for failure in syncs.chain((0..n_file).map(Failure::Create)) {
        for (errno, is_lasting) in
            [(Errno::NOSPC, true), (Errno::IO, false), (Errno::ROFS, true), (Errno::INTR, false)]
        {
            check(Faults { failure, errno, is_lasting, ..NO_FAULTS });
        }
    }
}

#[test]
fn a_restart_on_a_full_disk_leaves_no_file_behind() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.mcap");
    record(&FaultyDisk::new(NO_FAULTS), &path).1.unwrap();
    let before = segments::of(&path).unwrap();
    let mut n_refused = 0;
    for at in 0..200 {
        let disk = FaultyDisk::new(Faults { failure: Failure::Write(at), ..NO_FAULTS });
        // Whether the start of the file finds room or not: nothing is recorded in it.
        n_refused += usize::from(RecordingFile::open_on(Arc::new(disk), &path).is_err());
        assert_eq!(segments::of(&path).unwrap(), before, "no room behind byte {at}");
    }
    assert!((1..200).contains(&n_refused), "{n_refused} of 200 refused");
}

/// What the recorder's thread did.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<TrIndex>,
    n_control: usize,
    n_alarm: usize,
}

/// Sends volumes and control messages through the recorder's thread, and checks what it did.
fn check_thread(faults: Faults, durability: Durability) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.mcap");
    let disk = FaultyDisk::new(faults);
    let Ok(file) = RecordingFile::open_on(Arc::new(disk.clone()), &path) else { return };
    let file = file.divided_after(3);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (safe, alarm) = (Arc::clone(&seen), Arc::clone(&seen));
    let recorded = Recorded::default();
    let (supervisor, mut ended) = Supervisor::new();
    let (recorder, thread) = Recorder::start(
        file,
        durability,
        Arc::clone(&recorded),
        Metrics::new(),
        move |ticket| {
            let mut seen = safe.lock().unwrap();
            match ticket.answer {
                Answer::Adapter { answer: ToAdapter::Ack(ack), .. } => {
                    seen.acknowledged.extend(ack.index.map(TrIndex));
                }
                _ => seen.n_control += 1,
            }
        },
        move |_| alarm.lock().unwrap().n_alarm += 1,
        supervisor.guard("recorder"),
    )
    .unwrap();
    let mut n_control = 0;
    for entry in 0..N_ENTRY {
        let is_control = entry % 3 == 0;
        let index = TrIndex(entry as u32);
        let answer = if is_control {
            ToAdapter::Ping(DaemonPing { instance: String::new() })
        } else {
            ToAdapter::Ack(Ack { run: String::new(), index: Some(index.0) })
        };
        let (peer, encoding) = (PeerId::default(), Encoding::Json);
        let answer = Answer::Adapter { peer, encoding, answer };
        let record = Record {
            topic: if is_control { COMMAND } else { WIRE },
            at_ns: entry,
            data: Bytes::from(data(entry)).into(),
            kind: if is_control { Kind::Control } else { Kind::Volume },
            ticket: Some(Ticket { volume: (!is_control).then_some((RunNumber(0), index)), answer }),
        };
        match recorder.record(record) {
            Ok(()) => n_control += usize::from(is_control),
            // The caller answers.
            Err(ticket) => assert!(ticket.is_some()),
        }
    }
    drop(recorder);
    let result = thread.join();
    assert!(result.is_err() || !disk.has_failed(), "{faults:?}: an error was lost");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.n_alarm, usize::from(result.is_err()), "{faults:?}: alarms");
    assert_eq!(seen.n_control, n_control, "{faults:?}: control messages without an answer");
    assert!(ended.try_recv().is_err(), "{faults:?}: a failed disk ended the session");
    let kept = read(&path);
    for index in &seen.acknowledged {
        assert!(kept.contains(&data(index.0.into())), "{faults:?}: {index:?} was acknowledged");
    }
    for index in (0..N_ENTRY as u32).map(TrIndex) {
        let is_safe = recorded.lock().unwrap().contains(RunNumber(0), index);
        assert_eq!(is_safe, seen.acknowledged.contains(&index), "{faults:?}: {index:?}");
    }
    if result.is_ok() {
        assert_eq!(kept.len() as u64, N_ENTRY);
    }
}

#[test]
fn the_recorder_acknowledges_only_what_is_readable_and_answers_the_rest() {
    let [n_byte, n_sync, n_file] = counts();
    let writes = (0..n_byte).step_by(29).map(Failure::Write);
    let others = (0..n_sync + 4).map(Failure::Sync).chain((0..n_file).map(Failure::Create));
    for failure in writes.chain(others).chain([Failure::Nothing]) {
        for durability in [Durability::Flush, Durability::Fsync] {
            check_thread(Faults { failure, ..NO_FAULTS }, durability);
        }
    }
}
