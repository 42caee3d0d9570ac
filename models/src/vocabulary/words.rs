//! The words of a text, split as in Stable Diffusion's tokenizer.
//!
//! Its pattern is `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`, on text that is
//! composed (NFC) and in lower case: each run of letters, each digit, and each run of other
//! characters is a word. White space separates words. The original pattern also matches the names
//! of special tokens; here they are ordinary text. OpenCLIP's first step, `html.unescape` and
//! ftfy, is left out.

use std::iter;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Endings of English words that count as separate words.
const ENDINGS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// Kinds of characters; a word has only one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Letter,
    Number,
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            _ if c.is_whitespace() => Self::Space,
            _ if c.is_numeric() => Self::Number,
            // Alphabetic includes more than the letters of `\p{L}`: marks such as vowel signs,
            // and letters in circles and squares.
            _ if !c.is_alphabetic() || is_combining_mark(c) => Self::Other,
            '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}' => Self::Other,
            _ => Self::Letter,
        }
    }
}

/// A text with its characters composed and in lower case, one character at a time as in the
/// original: a sigma at the end of a word stays σ.
pub fn clean(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

/// The words of a clean text.
pub fn of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let kind = Kind::of(first);
        let length = match ENDINGS.iter().find(|ending| rest.starts_with(**ending)) {
            Some(ending) => ending.len(),
            None if kind == Kind::Number => first.len_utf8(),
            None => rest.find(|c| Kind::of(c) != kind).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<String> {
        of(&clean(text)).map(str::to_owned).collect()
    }

    #[test]
    fn letters_digits_and_the_rest_are_words_of_their_own() {
        assert_eq!(cut("A cat,  8k (UHD)!\n"), ["a", "cat", ",", "8", "k", "(", "uhd", ")!"]);
        assert_eq!(
            cut("It's we'LL 'tis o'clock'"),
            ["it", "'s", "we", "'ll", "'t", "is", "o", "'", "clock", "'"]
        );
        assert_eq!(cut("½²Ⅷ"), ["½", "²", "ⅷ"]);
        assert!(cut(" \u{a0}\u{3000}").is_empty());
    }

    #[test]
    fn special_tokens_html_and_curly_quotes_are_ordinary_text() {
        assert_eq!(cut("<|endoftext|>"), ["<|", "endoftext", "|>"]);
        assert_eq!(cut("&amp;"), ["&", "amp", ";"]);
        assert_eq!(cut("don’t"), ["don", "’", "t"]);
    }

    #[test]
    fn accents_are_composed_and_marks_without_a_letter_to_join_are_none() {
        assert_eq!(cut("CAFE\u{301}"), ["café"]);
        assert_eq!(cut("ΟΔΟΣ"), ["οδοσ"]);
        // Devanagari "hi" with its vowel sign, a circled and a squared letter.
        assert_eq!(cut("हि ⓐb 🅰b"), ["ह", "\u{93f}", "ⓐ", "b", "🅰", "b"]);
    }

    proptest! {
        /// Only white space is lost.
        #[test]
        fn words_are_the_text_without_its_white_space(text: String) {
            let expected: String = clean(&text).split_whitespace().collect();
            prop_assert_eq!(cut(&text).concat(), expected);
        }
    }
}
