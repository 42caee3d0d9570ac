//! Text for people: an error with its causes, and foreign text made safe to print.
//!
//! Foreign text comes from files and peers. It can be long, and it can contain control characters
//! that would garble a log or a terminal.

/// The first characters of a foreign text, at most `n_char`. Print it with `{:?}`, which escapes
/// control characters.
#[must_use]
pub fn shorten(text: &str, n_char: usize) -> String {
    text.chars().take(n_char).collect()
}

/// The first characters of a foreign text, at most `n_char`, without control characters.
#[must_use]
pub fn printable(text: &str, n_char: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(n_char).collect()
}

/// A text in which numbers of more than 15 digits are short: 1e300 instead of 301 digits. Digits
/// that are part of a word stay.
#[must_use]
pub fn short_numbers(text: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut short = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| !is_part(c)) {
        let word = part.trim_end_matches(|c: char| !is_part(c));
        let number = word.trim_end_matches('.');
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match number.parse::<f64>() {
            Ok(value) if is_number && value >= 1e15 => {
                short += &format!("{value:e}{}", &part[number.len()..]);
            }
            _ => short += part,
        }
    }
    short
}

/// An error with its causes. A cause is left out if the message already contains its text.
#[must_use]
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A number of things: `1 volume`, `2 volumes`.
#[must_use]
pub fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_in_the_singular() {
        let counts = [0, 1, 2].map(|n| count(n, "volume"));
        assert_eq!(counts, ["0 volumes", "1 volume", "2 volumes"]);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Says {
        text: &'static str,
        #[source]
        cause: Option<Box<Says>>,
    }

    #[test]
    fn a_cause_that_is_in_the_message_already_is_not_said_again() {
        let disk =
            |text| Says { text, cause: Some(Box::new(Says { text: "disk full", cause: None })) };
        assert_eq!(explain(&disk("cannot write")), "cannot write: disk full");
        assert_eq!(explain(&disk("cannot write: disk full")), "cannot write: disk full");
    }

    #[test]
    fn a_number_of_many_digits_is_short() {
        let text = format!("`fwhm_mm` is {} mm, got -{}.", 1e300, 1e20);
        assert_eq!(short_numbers(&text), "`fwhm_mm` is 1e300 mm, got -1e20.");
        for same in ["1.5.1234", "007 é 3.25", "123456789012345", &"0".repeat(64), &"0f".repeat(32)]
        {
            assert_eq!(short_numbers(same), *same);
        }
    }

    #[test]
    fn foreign_text_is_cut_between_characters() {
        assert_eq!(shorten("aé\n漢b", 4), "aé\n漢");
        assert_eq!(printable("a\x1b[1mé\n漢b", 6), "a[1mé漢");
    }
}
