//! CLIP's tokens: a text into ids, and ids into a text.
//!
//! A byte-pair vocabulary (Sennrich et al. 2016) over bytes: 256 tokens of one byte, the same
//! 256 with an end-of-word mark, one token for each line of the file, which joins two earlier
//! tokens, and the two special tokens start and stop. The file writes bytes as printable
//! characters: a printable byte stands for itself, the others are numbered from U+0100 on (as in
//! GPT-2's `bytes_to_unicode`).
//!
//! A text is cleaned and split into words as in Stable Diffusion's tokenizer (Hugging Face's
//! `CLIPTokenizer`): composed (NFC), lower case, each digit a word. The bytes of each word are
//! then joined pair by pair, always the pair whose token has the lowest id.

mod words;

use std::{collections::HashMap, io::Read, path::Path};

use crate::{manifest::ManifestError, regular};

/// End-of-word mark.
const END_OF_WORD: &str = "</w>";
/// Longest vocabulary that is read, in bytes after unpacking; CLIP's has 3.2 million.
const MAX_BYTES: u64 = 16 << 20;

/// Tokens, their bytes and how they are joined. See the module docs.
#[derive(Debug)]
pub struct Vocabulary {
    /// Bytes of each token except the two special ones; an end of word is a space.
    tokens: Vec<Vec<u8>>,
    /// The token of each byte, within a word.
    of_byte: Vec<i64>,
    /// The token that two others are joined to.
    joined: HashMap<[i64; 2], i64>,
}

impl Vocabulary {
    /// Reads a vocabulary from gzipped text. The last token, `stop_id`, ends a text, the one
    /// before starts it. Further lines are ignored; CLIP's own file has some.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, is too long or too short, or holds a line that does not
    /// join two earlier tokens to a new one.
    pub fn read(path: &Path, stop_id: usize) -> Result<Self, ManifestError> {
        let refuse = |reason: String| ManifestError::Vocabulary { path: path.into(), reason };
        let io = |source| ManifestError::Io { path: path.into(), source };
        let file = regular::open(path).map_err(io)?;
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

    /// Reads a vocabulary from the unpacked text. Fails with the reason.
    pub(crate) fn parse(text: &str, stop_id: usize) -> Result<Self, String> {
        let written = written_bytes();
        let n_merge = stop_id.checked_sub(2 * written.len() + 1).ok_or_else(|| {
            format!("`stop_id` is {stop_id}, expected at least {}", 2 * written.len() + 1)
        })?;
        let mut of_byte = vec![0; written.len()];
        for (id, &(byte, _)) in (0..).zip(&written) {
            of_byte[usize::from(byte)] = id;
        }
        let mut tokens: Vec<Vec<u8>> = written.iter().map(|&(byte, _)| vec![byte]).collect();
        tokens.extend(written.iter().map(|&(byte, _)| vec![byte, b' ']));
        let within = written.iter().map(|(_, seen)| seen.to_string());
        let last = written.iter().map(|(_, seen)| format!("{seen}{END_OF_WORD}"));
        let mut named: HashMap<String, i64> = within.chain(last).zip(0..).collect();
        let mut joined = HashMap::new();
        // The first line holds the version.
        for (at, line) in text.lines().enumerate().skip(1).take(n_merge) {
            let refuse = |why: String| format!("line {} is {line:?}, {why}", at + 1);
            let pair = line.split_once(' ').filter(|(_, second)| !second.contains(' '));
            let (first, second) = pair.ok_or_else(|| refuse("expected two tokens".into()))?;
            let known = |name: &str| {
                let id = named.get(name).copied();
                id.ok_or_else(|| {
                    refuse(format!("but {name:?} is not a byte or a token of an earlier line"))
                })
            };
            let (pair, id) = ([known(first)?, known(second)?], tokens.len() as i64);
            tokens.push(pair.iter().flat_map(|&part| &tokens[part as usize]).copied().collect());
            joined.insert(pair, id);
            if let Some(earlier) = named.insert(format!("{first}{second}"), id) {
                return Err(refuse(format!("which is token {earlier} already")));
            }
        }
        if tokens.len() + 1 != stop_id {
            let found = joined.len();
            return Err(format!("holds {found} pairs, `stop_id` {stop_id} needs {n_merge}"));
        }
        Ok(Self { tokens, of_byte, joined })
    }

    /// The ids of a text, without start and stop. Every byte has a token, so every text has ids,
    /// except for white space.
    ///
    /// HTML entities, curly quotes and broken encodings stay as they are, as in Stable
    /// Diffusion's tokenizer; OpenCLIP's, which the captioner learnt from, repairs them. The names
    /// of special tokens are ordinary text here, so nobody can end a prompt by typing one; in
    /// Stable Diffusion's tokenizer they are the tokens.
    ///
    /// The time grows with the square of the longest word.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let text = words::clean(text);
        words::of(&text).flat_map(|word| self.encode_word(word)).collect()
    }

    fn encode_word(&self, word: &str) -> Vec<i64> {
        let mut ids: Vec<i64> = word.bytes().map(|byte| self.of_byte[usize::from(byte)]).collect();
        if let Some(last) = ids.last_mut() {
            *last += self.of_byte.len() as i64;
        }
        // A joined token has a higher id than its parts, so joining one pair at a time gives the
        // same result as joining all equal pairs at once, as CLIP does.
        let lowest = |ids: &[i64]| {
            let pairs = ids.windows(2).enumerate();
            let joined = pairs.filter_map(|(at, pair)| Some((*self.joined.get(pair)?, at)));
            joined.min()
        };
        while let Some((joined, at)) = lowest(&ids) {
            ids[at] = joined;
            ids.remove(at + 1);
        }
        ids
    }

    /// The text of tokens, without special tokens and without the space after the last word.
    /// Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[i64]) -> String {
        let token = |&id: &i64| usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let bytes: Vec<u8> = ids.iter().filter_map(token).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

/// Each byte, in the order of the tokens, and the character that the file writes for it.
fn written_bytes() -> Vec<(u8, char)> {
    let is_seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let seen = (0..=u8::MAX).filter(is_seen).map(|byte| (byte, char::from(byte)));
    let unseen = (0..=u8::MAX).filter(|byte| !is_seen(byte));
    let numbered = (0x100_u32..).filter_map(char::from_u32);
    seen.chain(unseen.zip(numbered)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "#version: 0.2\nc a\nca t</w>\nd o\nnever used";
    // 256 bytes, 256 with an end of word, three pairs, start, stop.
    const STOP: usize = 512 + 3 + 1;

    fn vocabulary() -> Vocabulary {
        Vocabulary::parse(TEXT, STOP).unwrap()
    }

    /// The token of a printable character within a word.
    fn byte(byte: u8) -> i64 {
        i64::from(byte) - 33
    }

    #[test]
    fn tokens_are_joined_bytes_and_the_end_of_a_word_is_a_space() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.decode(&[513, 514, 256 + byte(b'g'), 515, 516]), "cat dog");
        assert_eq!(vocabulary.decode(&[512, byte(b't')]), "cat");
        assert_eq!(vocabulary.decode(&[-1, 99999]), "");
    }

    #[test]
    fn a_text_becomes_the_longest_tokens_that_its_words_can_be_joined_to() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.encode(" Cat\n DOG"), [513, 514, 256 + byte(b'g')]);
        // "cat" joins its "t" only where the word ends.
        let cats = [512, byte(b't'), 256 + byte(b's')];
        assert_eq!(vocabulary.encode("cats"), cats);
        assert!(vocabulary.encode(" \t").is_empty());
    }

    #[test]
    fn of_two_pairs_that_of_the_earlier_line_is_joined_first() {
        let encode = |text| Vocabulary::parse(text, 512 + 2 + 1).unwrap().encode("ababc");
        let end = 256 + byte(b'c');
        assert_eq!(encode("#\na b\nb a"), [512, 512, end]);
        assert_eq!(encode("#\nb a\na b"), [byte(b'a'), 512, byte(b'b'), end]);
    }

    #[test]
    fn an_invalid_vocabulary_is_refused() {
        let refused = |text, n_pair: usize| Vocabulary::parse(text, 512 + n_pair + 1).unwrap_err();
        let message = refused(TEXT, 9);
        assert!(message.starts_with("line 5 is \"never used\", but \"never\" is not"), "{message}");
        let message = refused("#\na b\n", 9);
        assert!(message.contains("holds 1 pairs, `stop_id` 522 needs 9"), "{message}");
        assert!(refused("#\na b c\n", 1).contains("line 2 is \"a b c\", expected two tokens"));
        assert!(refused("#\na \u{4e00}\n", 1).contains("\"\u{4e00}\" is not a byte"));
        let message = refused("#\na b\nab c\nb c\na bc\n", 4);
        assert!(message.contains("line 5 is \"a bc\", which is token 513 already"), "{message}");
        assert!(Vocabulary::parse("", 7).unwrap_err().contains("at least 513"));
    }

    proptest! {
        /// No ids and no text make it panic.
        #[test]
        fn garbage_is_refused_or_decoded(text: String, ids: Vec<i64>) {
            let parsed = Vocabulary::parse(&text, 514);
            for vocabulary in [parsed, Vocabulary::parse(TEXT, STOP)].into_iter().flatten() {
                // A lone byte becomes U+FFFD, which takes three.
                prop_assert!(vocabulary.decode(&ids).len() <= 3 * (text.len() + 4) * ids.len());
            }
        }

        /// Any text has ids, none of them that of a special token.
        #[test]
        fn any_text_is_encoded_without_special_tokens(text: String) {
            let ids = vocabulary().encode(&text);
            prop_assert!(ids.iter().all(|id| (0..STOP as i64 - 1).contains(id)), "{ids:?}");
            prop_assert_eq!(ids.is_empty(), text.trim().is_empty());
        }

        #[test]
        fn words_are_read_back(words in prop::collection::vec("[a-z]{1,8}", 0..6)) {
            let text = words.join(" ");
            prop_assert_eq!(vocabulary().decode(&vocabulary().encode(&text)), text);
        }
    }
}
