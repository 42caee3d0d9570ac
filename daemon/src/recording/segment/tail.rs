//! The end of a file whose writer did not finish it: what was cut off, and what is damaged.

use mcap::records::op;

use crate::recording::search::{CHUNK_PREFIX, chunk_bytes};

/// Bytes behind the opcode and length of a record that [`is_cut_short`] needs.
pub(super) const START_BYTES: u64 = CHUNK_PREFIX as u64 - super::PREFIX_BYTES;

/// A disk writes whole blocks of at least this many bytes.
const BLOCK: u64 = 512;

/// Whether a record that is longer than the file was cut. Otherwise its length is damaged: the
/// length is written twice, and the two disagree. `start` is the record up to the end of the file,
/// or at least [`CHUNK_PREFIX`] bytes of it.
pub(super) fn is_cut_short(start: &[u8]) -> bool {
    let Some(length) = start.get(1..9).and_then(|length| length.try_into().ok()) else {
        return true;
    };
    let length = u64::from_le_bytes(length);
    match start[0] {
        op::CHUNK => start.len() < CHUNK_PREFIX || chunk_bytes(start).is_some(),
        // The channel, and the length of the list.
        op::MESSAGE_INDEX => match start.get(11..15).and_then(|list| list.try_into().ok()) {
            Some(list) => u64::from(u32::from_le_bytes(list)) + 6 == length,
            None => true,
        },
        op::DATA_END => length == super::DATA_END_BYTES,
        _ => true,
    }
}

/// Whether a record lies in blocks that were never written: after a power cut a file can have its
/// length, and zeros instead of its last blocks. `at` is the first byte of the record, `end` the
/// one behind it if it is a chunk, `zeros` the first of the zeros at the end of the file.
pub(super) fn is_unwritten(at: u64, end: Option<u64>, zeros: u64, n_byte: u64) -> bool {
    let block = zeros.next_multiple_of(BLOCK);
    zeros <= at || (block < n_byte && block < end.unwrap_or(at + CHUNK_PREFIX as u64))
}
