//! The bytes of a gzip file, member by member, each checked against its checksum and its length.
//!
//! `gzip` allows several members one after another, and ignores what follows the last one. A member
//! is checked at its end, so a damaged file is known only when all of it has been read.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// Compressed bytes are read in pieces of this size.
const READ_BYTES: usize = 1 << 18;
/// The first byte of every member.
const MAGIC: u8 = 0x1f;

/// See the module docs.
pub(super) struct Gzip<R> {
    /// `None` after the last member.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Gzip<R> {
    pub(super) fn new(file: R) -> Self {
        let buffered = BufReader::with_capacity(READ_BYTES, file);
        Self { member: Some(GzDecoder::new(buffered)) }
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            let n_byte = member.read(buffer)?;
            if n_byte > 0 || buffer.is_empty() {
                return Ok(n_byte);
            }
            let Some(ended) = self.member.take() else { return Ok(0) };
            let mut file = ended.into_inner();
            match file.fill_buf()?.first() {
                None => return Ok(0),
                Some(&MAGIC) => self.member = Some(GzDecoder::new(file)),
                // Padding of a tape is zeros.
                Some(0) => return Ok(0),
                Some(_) => {
                    tracing::warn!("bytes that are not gzip follow the image: they are ignored");
                    return Ok(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Gzip::new(bytes).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn members_follow_each_other_and_what_comes_after_is_ignored() {
        let two = [packed("one "), packed(""), packed("two")].concat();
        assert_eq!(read(&two).unwrap(), "one two");
        assert_eq!(read(&[&two[..], &[0; 512]].concat()).unwrap(), "one two");
        assert_eq!(read(&[&two[..], b"garbage"].concat()).unwrap(), "one two");
    }

    #[test]
    fn a_wrong_checksum_length_or_end_is_an_error() {
        let whole = packed("some voxels");
        for at in [12, whole.len() - 8, whole.len() - 4] {
            let mut damaged = whole.clone();
            *damaged.get_mut(at + usize::from(at == 12) * 6).unwrap() ^= 0x40;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        assert!(read(&whole[..whole.len() - 3]).is_err());
        assert!(read(&[&whole[..], &whole[..9]].concat()).is_err());
    }
}
