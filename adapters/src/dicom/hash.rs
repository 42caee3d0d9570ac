//! A short hash for values that must not be shown: identifiers from the scanner, file names.

/// The first eight bytes of the BLAKE3 hash.
pub(super) fn short_hash(bytes: &[u8]) -> u64 {
    let digest = blake3::hash(bytes);
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}
