//! Finds the newest checkpoint of a recording without reading the recording: only the length of
//! each chunk, and which topics it holds.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use mcap::{MAGIC, records::op};

use super::{
    belongs,
    format::{CHECKPOINT, Entry, SESSION, TOPICS, WIRE},
    reader::{Recording, RecordingError},
    search::{CHUNK_PREFIX, chunk_bytes},
    segments,
};

/// Chunks with messages that are read before a checkpoint: more than the messages that can have
/// been recorded and not processed when it was made.
const CHUNKS_BEFORE: usize = 512;

/// Entries after a checkpoint among which its last message must be, if it is not before.
const ENTRIES_AFTER: usize = 64;

/// A checkpoint, and where to start reading.
pub(super) struct Found {
    /// The state of the session.
    pub(super) state: Entry,
    /// Segment and byte from which on entries are fed.
    pub(super) start: (u32, u64),
}

/// A chunk of one file.
struct Chunk {
    at: u64,
    has_messages: bool,
    has_checkpoint: bool,
    has_session: bool,
}

/// The newest checkpoint of the segments before number `end` whose last message is recorded.
///
/// # Errors
///
/// Fails when a file cannot be read.
pub(super) fn newest_checkpoint(path: &Path, end: u32) -> Result<Option<Found>, RecordingError> {
    let open = |path: &Path| {
        let path = path.to_owned();
        move |source| RecordingError::Open { path, source }
    };
    let (mut files, ..) = belongs::separate(segments::of(path).map_err(open(path))?);
    files.retain(|(number, _)| *number < end);
    while let Some((number, file)) = files.pop() {
        let chunks = chunks_of(&file).map_err(open(&file))?;
        let Some(newest) = chunks.iter().rposition(|chunk| chunk.has_checkpoint) else { continue };
        let at = chunks[newest].at;
        let mut start = (number, at);
        let mut n_left = CHUNKS_BEFORE;
        let mut before = chunks;
        before.truncate(newest);
        loop {
            let with_messages = before.iter().rev().filter(|chunk| chunk.has_messages);
            for chunk in with_messages.take(n_left) {
                start.1 = chunk.at;
                n_left -= 1;
            }
            // A segment that starts with a session is the first of its process. Another one goes
            // on where the process had filled the segment before.
            let is_first = before.iter().take(2).any(|chunk| chunk.has_session);
            let Some((number, file)) = files.pop().filter(|_| !is_first && n_left > 0) else {
                break;
            };
            before = chunks_of(&file).map_err(open(&file))?;
            start = (number, before.last().map_or(MAGIC.len() as u64, |chunk| chunk.at));
        }
        return state_from(path, end, start, at, &file);
    }
    Ok(None)
}

/// Reads the checkpoint in the chunk at `at`, and checks that its last message is recorded.
fn state_from(
    path: &Path,
    end: u32,
    start: (u32, u64),
    at: u64,
    file: &PathBuf,
) -> Result<Option<Found>, RecordingError> {
    let mut recording = Recording::between(path, start, end)?;
    let mut state: Option<Entry> = None;
    let mut message_times = std::collections::HashSet::new();
    let mut n_after = 0;
    while let Some(entry) = recording.next() {
        if entry.topic == WIRE {
            message_times.insert(entry.wall_ns);
        } else if entry.topic == CHECKPOINT
            && recording.position().is_some_and(|(open, next)| open == file && next > at)
            && state.is_none()
        {
            state = Some(entry);
        }
        if let Some(state) = &state {
            if message_times.contains(&state.wall_ns) {
                break;
            }
            n_after += 1;
            if n_after > ENTRIES_AFTER {
                break;
            }
        }
    }
    let is_recorded = |state: &Entry| message_times.contains(&state.wall_ns);
    Ok(state.filter(is_recorded).map(|state| Found { state, start }))
}

/// The chunks of a file, up to its end or the first unusable record.
fn chunks_of(path: &Path) -> io::Result<Vec<Chunk>> {
    let file = File::open(path)?;
    let n_byte = file.metadata()?.len();
    let id = |topic: &str| TOPICS.iter().position(|(name, _)| *name == topic).map(|at| at + 1);
    let (checkpoint, wire, session) = (id(CHECKPOINT), id(WIRE), id(SESSION));
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut at = MAGIC.len() as u64;
    let mut prefix = [0; CHUNK_PREFIX];
    loop {
        // Opcode, length, and for an index the number of its channel.
        let n_read = (n_byte.saturating_sub(at)).min(CHUNK_PREFIX as u64) as usize;
        if n_read < 11 {
            return Ok(chunks);
        }
        file.read_exact_at(&mut prefix[..n_read], at)?;
        let [opcode, length @ ..] = prefix;
        let length = u64::from_le_bytes(length[..8].try_into().unwrap_or_default());
        let Some(next) = at.checked_add(9).and_then(|body| body.checked_add(length)) else {
            return Ok(chunks);
        };
        if next > n_byte {
            return Ok(chunks);
        }
        match opcode {
            op::CHUNK if chunk_bytes(&prefix[..n_read]).is_some() => {
                let (has_messages, has_checkpoint, has_session) = (false, false, false);
                chunks.push(Chunk { at, has_messages, has_checkpoint, has_session });
            }
            op::MESSAGE_INDEX => {
                let channel = Some(usize::from(u16::from_le_bytes([prefix[9], prefix[10]])));
                if let Some(chunk) = chunks.last_mut() {
                    chunk.has_checkpoint |= channel == checkpoint;
                    chunk.has_messages |= channel == wire;
                    chunk.has_session |= channel == session;
                }
            }
            op::HEADER | op::SCHEMA | op::CHANNEL => {}
            _ => return Ok(chunks),
        }
        at = next;
    }
}
