//! The names of CLIP's tokens, to turn a caption's ids into text.
//!
//! A byte-pair vocabulary (Sennrich et al. 2016) over bytes: 256 tokens of one byte, the same
//! 256 with the mark of a word's end, then one token for each line of the file, which joins two
//! earlier ones, then the two special tokens, start and stop. Bytes are written as characters
//! that can be seen: those that can be seen anyway stand for themselves, the others are
//! numbered from U+0100 on (as in GPT-2's `bytes_to_unicode`).
//!
//! Only decoding is needed here; encoding is the training tool's.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use crate::manifest::ManifestError;

/// Mark of a word's end.
const END_OF_WORD: &str = "</w>";
/// Longest vocabulary that is read, in bytes, unpacked; CLIP's has 3.2 million.
const MAX_BYTES: u64 = 16 << 20;

/// Names of tokens. See the module docs.
#[derive(Debug)]
pub struct Vocabulary {
    /// Bytes of each token but the two special ones; a word's end is a space.
    tokens: Vec<Vec<u8>>,
}

impl Vocabulary {
    /// Reads a vocabulary, gzipped text, whose last token but one starts a caption and whose
    /// last, `stop_id`, ends it. Lines beyond are not used, as in CLIP, whose file is longer.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, is too long or too short, or holds a line that is
    /// not two tokens.
    pub fn read(path: &Path, stop_id: usize) -> Result<Self, ManifestError> {
        let refuse = |reason: String| ManifestError::Vocabulary { path: path.into(), reason };
        let io = |source| ManifestError::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(file)
            .take(MAX_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|error| refuse(format!("not gzipped text: {error}")))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(refuse(format!("longer than {MAX_BYTES} bytes")));
        }
        Self::parse(&text, stop_id).map_err(refuse)
    }

    fn parse(text: &str, stop_id: usize) -> Result<Self, String> {
        let (bytes, byte_of) = written_bytes();
        let n_merge = stop_id.checked_sub(2 * bytes.len() + 1).ok_or_else(|| {
            format!("`stop_id` is {stop_id}, expected at least {}", 2 * bytes.len() + 1)
        })?;
        let mut tokens: Vec<Vec<u8>> = bytes.iter().map(|&byte| vec![byte]).collect();
        tokens.extend(bytes.iter().map(|&byte| vec![byte, b' ']));
        // The first line says which version it is.
        for (at, line) in text.lines().enumerate().skip(1).take(n_merge) {
            let pair = line.split_once(' ').filter(|(_, second)| !second.contains(' '));
            let (first, second) =
                pair.ok_or_else(|| format!("line {} is {line:?}, expected two tokens", at + 1))?;
            let (second, end) = match second.strip_suffix(END_OF_WORD) {
                Some(second) => (second, Some(b' ')),
                None => (second, None),
            };
            let joined = first.chars().chain(second.chars()).map(|c| byte_of.get(&c).copied());
            let joined: Option<Vec<u8>> = joined.chain(end.map(Some)).collect();
            tokens.push(joined.ok_or_else(|| {
                format!("line {} is {line:?}, which is not written in bytes", at + 1)
            })?);
        }
        if tokens.len() + 1 != stop_id {
            let found = tokens.len() - 2 * bytes.len();
            return Err(format!("holds {found} pairs, `stop_id` {stop_id} expects {n_merge}"));
        }
        Ok(Self { tokens })
    }

    /// The text of tokens, without special ones and without the space after the last word.
    /// Bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[i64]) -> String {
        let token = |&id: &i64| usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let bytes: Vec<u8> = ids.iter().filter_map(token).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

/// The bytes in the order of their tokens, and the byte that each character stands for.
fn written_bytes() -> (Vec<u8>, HashMap<char, u8>) {
    let is_seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let seen = (0..=u8::MAX).filter(is_seen);
    let unseen = (0..=u8::MAX).filter(|byte| !is_seen(byte));
    let numbered = (0x100_u32..).filter_map(char::from_u32);
    let bytes: Vec<u8> = seen.clone().chain(unseen.clone()).collect();
    let byte_of = seen.clone().map(|byte| (char::from(byte), byte));
    (bytes, byte_of.chain(numbered.zip(unseen)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "#version: 0.2\nc a\nca t</w>\nd o\nnever used";

    #[test]
    fn tokens_are_joined_bytes_and_the_end_of_a_word_is_a_space() {
        // 256 bytes, 256 with an end, three pairs, start, stop.
        let vocabulary = Vocabulary::parse(TEXT, 512 + 3 + 1).unwrap();
        let byte = |byte: u8| i64::from(byte) - 33;
        assert_eq!(vocabulary.decode(&[513, 514, 256 + byte(b'g'), 515, 516]), "cat dog");
        assert_eq!(vocabulary.decode(&[512, byte(b't')]), "cat");
        assert_eq!(vocabulary.decode(&[-1, 99999]), "");
    }

    #[test]
    fn a_vocabulary_of_another_length_is_refused() {
        let message = Vocabulary::parse(TEXT, 512 + 9 + 1).unwrap_err();
        assert!(
            message.contains("line 5 is \"never used\"") || message.contains("pairs"),
            "{message}"
        );
        let message = Vocabulary::parse("#\na b\n", 512 + 9 + 1).unwrap_err();
        assert!(message.contains("holds 1 pairs, `stop_id` 522 expects 9"), "{message}");
        assert!(Vocabulary::parse("#\na b c\n", 514).unwrap_err().contains("line 2"));
        assert!(Vocabulary::parse("#\na \u{4e00}\n", 514).unwrap_err().contains("in bytes"));
        assert!(Vocabulary::parse("", 7).unwrap_err().contains("at least 513"));
    }

    proptest! {
        /// No ids and no text make it panic.
        #[test]
        fn garbage_is_refused_or_decoded(text: String, ids: Vec<i64>) {
            let parsed = Vocabulary::parse(&text, 514);
            for vocabulary in [parsed, Vocabulary::parse(TEXT, 516)].into_iter().flatten() {
                // A lone byte becomes U+FFFD, which takes three.
                prop_assert!(vocabulary.decode(&ids).len() <= 3 * (text.len() + 4) * ids.len());
            }
        }
    }
}
