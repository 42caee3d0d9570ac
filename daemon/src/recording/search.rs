//! Finds the chunks of a recording without the records before them.

use std::io::{self, Read, Seek, SeekFrom};

use mcap::{MAGIC, records::op};

/// The word that a chunk of ours has at a fixed place: the length and name of its compression.
const COMPRESSION: &[u8] = b"\x04\0\0\0zstd";

/// Bytes of a chunk before [`COMPRESSION`]: opcode, length, two times, size, checksum.
const BEFORE_COMPRESSION: usize = 1 + 8 + 8 + 8 + 8 + 4;

/// Bytes of a chunk before its data: the above, the compression, and the length of the data.
pub(super) const CHUNK_PREFIX: usize = BEFORE_COMPRESSION + COMPRESSION.len() + 8;

/// Bytes that are searched at once.
const BLOCK: usize = 1 << 20;

/// Length of the chunk that starts with these bytes, in bytes with its opcode. `None` when no
/// chunk starts so, or its lengths disagree.
pub(super) fn chunk_bytes(start: &[u8]) -> Option<u64> {
    let start = start.get(..CHUNK_PREFIX)?;
    let number = |at: usize| start[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let is_chunk = start[0] == op::CHUNK && start[BEFORE_COMPRESSION..].starts_with(COMPRESSION);
    let (length, n_data) = (number(1)?, number(CHUNK_PREFIX - 8)?);
    let expected = n_data.checked_add(CHUNK_PREFIX as u64 - 9)?;
    (is_chunk && length == expected).then_some(length.checked_add(9)?)
}

/// First byte of the next chunk at or behind byte `from`. Only its lengths are checked.
pub(super) fn next_chunk(
    file: &mut (impl Read + Seek),
    from: u64,
    n_byte: u64,
) -> io::Result<Option<u64>> {
    let mut at = from;
    let mut block = Vec::new();
    while at + CHUNK_PREFIX as u64 <= n_byte {
        file.seek(SeekFrom::Start(at))?;
        block.clear();
        file.by_ref().take((BLOCK + CHUNK_PREFIX) as u64).read_to_end(&mut block)?;
        if block.len() < CHUNK_PREFIX {
            return Ok(None);
        }
        let places = block.len() - CHUNK_PREFIX + 1;
        let found = (0..places).find(|&place| {
            block[place] == op::CHUNK
                && chunk_bytes(&block[place..])
                    .is_some_and(|length| at + place as u64 + length <= n_byte)
        });
        if let Some(place) = found {
            return Ok(Some(at + place as u64));
        }
        at += places as u64;
    }
    Ok(None)
}

/// First byte behind the chunk at byte `at`. `None` when no whole chunk is there.
pub(super) fn chunk_end(
    file: &mut (impl Read + Seek),
    at: u64,
    n_byte: u64,
) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(at))?;
    let mut start = Vec::new();
    file.take(CHUNK_PREFIX as u64).read_to_end(&mut start)?;
    let end = chunk_bytes(&start).and_then(|length| at.checked_add(length));
    Ok(end.filter(|end| *end <= n_byte))
}

/// First of the zeros with which the file ends; `n_byte` if it ends with another byte.
pub(super) fn zero_tail(file: &mut (impl Read + Seek), n_byte: u64) -> io::Result<u64> {
    let mut end = n_byte;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Whether the file ends as a whole one does. The magic bytes at its start do not count.
pub(super) fn ends_with_magic(file: &mut (impl Read + Seek), n_byte: u64) -> io::Result<bool> {
    let n_magic = MAGIC.len() as u64;
    let Some(at) = n_byte.checked_sub(n_magic).filter(|at| *at >= n_magic) else {
        return Ok(false);
    };
    let mut end = [0; MAGIC.len()];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut end)?;
    Ok(end == *MAGIC)
}
