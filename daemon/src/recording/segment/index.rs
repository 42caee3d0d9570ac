//! The part of a file behind its entries: the index and the footer.

use mcap::{MAGIC, records::op};

use crate::recording::fault::FaultKind;

/// Bytes at the end of a whole file: the footer with its prefix, and the magic bytes.
const FOOTER_BYTES: usize = 9 + 20 + MAGIC.len();

/// What is wrong with the bytes behind the entries. `from` is the place of the first.
pub(super) fn fault_of(index: &[u8], from: u64) -> Option<FaultKind> {
    let Some(footer) = index.len().checked_sub(FOOTER_BYTES) else {
        return Some(FaultKind::Cut { at: from });
    };
    if !index.ends_with(MAGIC) {
        return Some(FaultKind::Cut { at: from });
    }
    let checked = index.len() - MAGIC.len() - 4;
    let is_footer =
        index[footer] == op::FOOTER && index[footer + 1..footer + 9] == 20_u64.to_le_bytes();
    let crc = index[checked..checked + 4].try_into().map(u32::from_le_bytes).unwrap_or(0);
    let is_right = crc == 0 || crc32fast::hash(&index[..checked]) == crc;
    (!is_footer || !is_right).then(|| FaultKind::Damaged {
        from,
        to: from + index.len() as u64,
        reason: "the index is damaged; no entry is lost".to_owned(),
    })
}
