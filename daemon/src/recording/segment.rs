//! Reads one file of a recording, chunk by chunk, and tells what is wrong with it.
//!
//! Each chunk is checked whole before any of its entries is returned. When a record is damaged,
//! the reader looks for the next chunk whose checksum is right and goes on there, so damage in the
//! middle costs the damaged chunk and nothing behind it.

mod index;
mod tail;

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mcap::{
    MAGIC, McapError,
    records::{MessageHeader, Record, op},
    sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions},
};

use super::{
    fault::{Fault, FaultKind},
    format::{Entry, TOPICS},
    search,
};

/// Longest MCAP record that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// Opcode and length before each record.
const PREFIX_BYTES: u64 = 9;

/// Bytes of `DataEnd`: prefix and checksum.
const DATA_END_BYTES: u64 = 4;

/// One file of a recording that is read from its start.
pub(super) struct Segment<R> {
    file: R,
    path: PathBuf,
    /// Length of the file when it was opened.
    n_byte: u64,
    /// First byte of the next record.
    at: u64,
    /// Where the search for the next chunk starts when the next record is unusable: within the
    /// record before it, because a damaged length there leads astray.
    last_at: u64,
    /// Entries of the chunk that was read last.
    entries: VecDeque<Entry>,
    channels: Vec<(u16, String)>,
    /// Checksum of all bytes so far; `None` once some are damaged.
    checksum: Option<crc32fast::Hasher>,
    has_ended: bool,
    faults: Vec<Fault>,
}

/// A record that is whole.
enum Whole {
    /// A record without entries.
    Other,
    /// A chunk and its entries.
    Chunk,
    /// The end of the entries, with their checksum; 0 if there is none.
    DataEnd(u32),
}

/// Why the next record cannot be used.
enum Unusable {
    /// The file ends within it.
    Cut,
    /// It is damaged.
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<R: Read + Seek> Segment<R> {
    /// Starts reading the first file of a recording. `None` when the file holds other data.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub(super) fn open(file: R, path: &Path) -> io::Result<Option<Self>> {
        let (mut segment, is_recording) = Self::begin(file, path)?;
        if !is_recording && !segment.is_zeros()? {
            return Ok(None);
        }
        if !is_recording {
            // A power cut left the length of the file and nothing of its content.
            segment.ends(FaultKind::Cut { at: 0 });
        }
        Ok(Some(segment))
    }

    /// Starts reading a further file, whose name says that it belongs to a recording. If it holds
    /// other data, it is damaged as a whole.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub(super) fn open_further(file: R, path: &Path) -> io::Result<Self> {
        let (mut segment, is_recording) = Self::begin(file, path)?;
        if !is_recording {
            let found = if segment.is_zeros()? { "zeros" } else { "other data" };
            let reason = format!("it starts with {found}, expected the magic bytes of MCAP");
            segment.ends(FaultKind::Damaged { from: 0, to: segment.n_byte, reason });
        }
        Ok(segment)
    }

    fn is_zeros(&mut self) -> io::Result<bool> {
        Ok(search::zero_tail(&mut self.file, self.n_byte)? == 0)
    }

    /// Starts reading. Also returns whether the file holds any part of a recording.
    fn begin(mut file: R, path: &Path) -> io::Result<(Self, bool)> {
        let n_byte = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut start = Vec::new();
        file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&start);
        let mut segment = Self {
            file,
            path: path.to_owned(),
            n_byte,
            at: start.len() as u64,
            last_at: 0,
            entries: VecDeque::new(),
            channels: Vec::new(),
            checksum: Some(checksum),
            has_ended: false,
            faults: Vec::new(),
        };
        if start == MAGIC {
            return Ok((segment, true));
        }
        if MAGIC.starts_with(&start) {
            segment.ends(FaultKind::Cut { at: 0 });
            return Ok((segment, true));
        }
        // The magic bytes themselves may be damaged.
        let chunk = search::next_chunk(&mut segment.file, 0, n_byte)?;
        if let Some(chunk) = chunk {
            segment.damaged(0, chunk, "it does not start with the magic bytes of MCAP".to_owned());
        }
        Ok((segment, chunk.is_some()))
    }

    /// Goes on at this byte, where a record begins.
    pub(super) fn go_on_at(&mut self, at: u64) {
        (self.at, self.last_at) = (at, at);
        self.checksum = None;
    }

    /// The file, and the first byte of its next record.
    pub(super) fn position(&self) -> (&PathBuf, u64) {
        (&self.path, self.at)
    }

    /// The faults found so far.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn fault(&mut self, kind: FaultKind) {
        self.faults.push(Fault { path: self.path.clone(), kind });
    }

    fn ends(&mut self, kind: FaultKind) {
        self.fault(kind);
        self.has_ended = true;
    }

    /// Goes on at byte `to` after damage.
    fn damaged(&mut self, from: u64, to: u64, reason: String) {
        self.fault(FaultKind::Damaged { from, to, reason });
        self.checksum = None;
        self.at = to;
        self.last_at = to;
    }

    /// Reads the next record, and goes on behind it or behind damage.
    fn advance(&mut self) {
        let at = self.at;
        match self.record() {
            Ok(Whole::Other | Whole::Chunk) => {}
            Ok(Whole::DataEnd(expected)) => self.end_of_entries(expected),
            Err(Unusable::Io(error)) => {
                self.ends(FaultKind::Io { at, reason: error.to_string() });
            }
            Err(Unusable::Cut) => self.skip(at, None),
            Err(Unusable::Damaged(reason)) => self.skip(at, Some(reason)),
        }
    }

    /// Reads the record at `self.at` and moves behind it. Changes nothing when it is unusable.
    fn record(&mut self) -> Result<Whole, Unusable> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut prefix = [0; PREFIX_BYTES as usize];
        if self.at + PREFIX_BYTES > self.n_byte {
            return Err(Unusable::Cut);
        }
        self.file.read_exact(&mut prefix)?;
        let [opcode, length @ ..] = prefix;
        let length = u64::from_le_bytes(length);
        let is_known = matches!(
            opcode,
            op::HEADER | op::SCHEMA | op::CHANNEL | op::CHUNK | op::MESSAGE_INDEX | op::DATA_END
        );
        if !is_known {
            return Err(Unusable::Damaged(format!("a record of unknown kind {opcode:#04x}")));
        }
        if length > self.n_byte - self.at - PREFIX_BYTES {
            let mut start = prefix.to_vec();
            self.file.by_ref().take(tail::START_BYTES).read_to_end(&mut start)?;
            if tail::is_cut_short(&start) {
                return Err(Unusable::Cut);
            }
            let reason = format!("a record of {length} bytes, which is longer than the file");
            return Err(Unusable::Damaged(reason));
        }
        if length > MAX_RECORD_BYTES {
            return Err(Unusable::Damaged(format!("a record of {length} bytes")));
        }
        let mut record = prefix.to_vec();
        self.file.by_ref().take(length).read_to_end(&mut record)?;
        if record.len() as u64 != PREFIX_BYTES + length {
            return Err(Unusable::Cut);
        }
        let whole = self.check(opcode, &record)?;
        if let (Some(checksum), false) = (&mut self.checksum, matches!(whole, Whole::DataEnd(_))) {
            checksum.update(&record);
        }
        let next = self.at + PREFIX_BYTES + length;
        // The length of a chunk was checked, so no other chunk begins within it.
        self.last_at = if matches!(whole, Whole::Chunk) { next } else { self.at };
        self.at = next;
        Ok(whole)
    }

    fn check(&mut self, opcode: u8, record: &[u8]) -> Result<Whole, Unusable> {
        let body = &record[PREFIX_BYTES as usize..];
        let damaged = |error: McapError| Unusable::Damaged(error.to_string());
        if opcode == op::CHUNK {
            if search::chunk_bytes(record) != Some(record.len() as u64) {
                return Err(Unusable::Damaged("a chunk whose lengths disagree".to_owned()));
            }
            self.entries = self.entries_of(record).map_err(damaged)?;
            return Ok(Whole::Chunk);
        }
        let parsed = mcap::read::parse_record(opcode, body).map_err(damaged)?;
        let n_expected = match &parsed {
            Record::Header(header) => 8 + header.profile.len() + header.library.len(),
            Record::MessageIndex(index) => 6 + 16 * index.records.len(),
            Record::DataEnd(_) => DATA_END_BYTES as usize,
            Record::Channel(channel) => {
                let pair = |(key, value): (&String, &String)| 8 + key.len() + value.len();
                16 + channel.topic.len()
                    + channel.message_encoding.len()
                    + channel.metadata.iter().map(pair).sum::<usize>()
            }
            _ => body.len(),
        };
        if n_expected != body.len() {
            return Err(Unusable::Damaged("a record whose lengths disagree".to_owned()));
        }
        Ok(match parsed {
            Record::DataEnd(end) => Whole::DataEnd(end.data_section_crc),
            Record::Channel(channel) => {
                self.channels.push((channel.id, channel.topic));
                Whole::Other
            }
            _ => Whole::Other,
        })
    }

    /// The entries of a chunk, all or none.
    fn entries_of(&mut self, chunk: &[u8]) -> Result<VecDeque<Entry>, McapError> {
        let options = LinearReaderOptions::default()
            .with_skip_start_magic(true)
            .with_skip_end_magic(true)
            .with_prevalidate_chunk_crcs(true)
            .with_record_length_limit(MAX_RECORD_BYTES as usize);
        let mut reader = LinearReader::new_with_options(options);
        let mut left = chunk;
        let mut entries = VecDeque::new();
        let mut channels = Vec::new();
        while let Some(event) = reader.next_event() {
            match event? {
                LinearReadEvent::ReadRequest(n_byte) => {
                    let (now, later) = left.split_at(n_byte.min(left.len()));
                    reader.insert(now.len()).copy_from_slice(now);
                    reader.notify_read(now.len());
                    left = later;
                    if now.is_empty() {
                        break;
                    }
                }
                LinearReadEvent::Record { opcode, data } => {
                    match mcap::read::parse_record(opcode, data)? {
                        Record::Channel(channel) => channels.push((channel.id, channel.topic)),
                        Record::Message { header, data } => {
                            let topic = self.topic(&header, &channels);
                            entries.extend(topic.map(|topic| Entry {
                                topic,
                                wall_ns: header.log_time,
                                data: Bytes::from(data.into_owned()),
                            }));
                        }
                        _ => {}
                    }
                }
            }
        }
        self.channels.extend(channels);
        Ok(entries)
    }

    /// The topic of a message. The first chunk names the channels; if it is damaged, the channels
    /// have the numbers that this program gives them.
    fn topic(&self, message: &MessageHeader, new: &[(u16, String)]) -> Option<String> {
        let id = message.channel_id;
        let named = self.channels.iter().chain(new).find(|(known, _)| *known == id);
        named.map(|(_, topic)| topic.clone()).or_else(|| {
            let (topic, _) = TOPICS.get(usize::from(id).checked_sub(1)?)?;
            Some((*topic).to_owned())
        })
    }

    /// Goes on at the next whole chunk after unusable bytes at `at`. Without a reason, the file
    /// ends within the record there.
    fn skip(&mut self, at: u64, reason: Option<String>) {
        // The record before may be the one with the wrong length.
        let from = (self.last_at + 1).min(at);
        let mut next = search::next_chunk(&mut self.file, from, self.n_byte);
        if matches!(next, Ok(Some(chunk)) if chunk == at) {
            next = search::next_chunk(&mut self.file, at + 1, self.n_byte);
        }
        let too_long = || "a record is longer than the file".to_owned();
        let skipped = next.and_then(|next| match next {
            Some(chunk) => {
                self.damaged(at.min(chunk), chunk, reason.unwrap_or_else(too_long));
                Ok(())
            }
            None if search::ends_with_magic(&mut self.file, self.n_byte)? => {
                let (to, reason) = (self.n_byte, reason.unwrap_or_else(too_long));
                self.ends(FaultKind::Damaged { from: at, to, reason });
                Ok(())
            }
            None => self.skip_last(at, reason),
        });
        if let Err(error) = skipped {
            self.ends(FaultKind::Io { at, reason: error.to_string() });
        }
    }

    /// As [`Segment::skip`], in a file without an end, when no whole chunk follows.
    fn skip_last(&mut self, at: u64, reason: Option<String>) -> io::Result<()> {
        let end = search::chunk_end(&mut self.file, at, self.n_byte)?;
        let zeros = search::zero_tail(&mut self.file, self.n_byte)?;
        match (reason, end) {
            (None, _) => self.ends(FaultKind::Cut { at }),
            _ if tail::is_unwritten(at, end, zeros, self.n_byte) => {
                self.ends(FaultKind::Cut { at });
            }
            (Some(reason), Some(end)) => self.damaged(at, end, reason),
            (Some(reason), None) => {
                self.ends(FaultKind::Damaged { from: at, to: self.n_byte, reason });
            }
        }
        Ok(())
    }

    /// Checks the part of the file behind its entries: checksum, index, footer.
    fn end_of_entries(&mut self, expected: u32) {
        let from = self.at;
        let found = self.checksum.take().map(crc32fast::Hasher::finalize);
        self.has_ended = true;
        if found.is_some_and(|found| expected != 0 && found != expected) {
            let reason = "its checksum differs although every chunk is whole".to_owned();
            self.fault(FaultKind::Damaged { from: 0, to: from, reason });
        }
        let mut index = Vec::new();
        let read = self.file.by_ref().take(MAX_RECORD_BYTES).read_to_end(&mut index);
        if let Err(error) = read {
            self.fault(FaultKind::Io { at: from, reason: error.to_string() });
        } else if let Some(kind) = index::fault_of(&index, from) {
            self.fault(kind);
        }
    }
}

impl<R: Read + Seek> Iterator for Segment<R> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(entry);
            }
            if self.has_ended {
                return None;
            }
            self.advance();
        }
    }
}

#[cfg(test)]
mod tests;
