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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn foreign_text_is_cut_between_characters() {
        assert_eq!(shorten("aé\n漢b", 4), "aé\n漢");
        assert_eq!(printable("a\x1b[1mé\n漢b", 6), "a[1mé漢");
    }
}
