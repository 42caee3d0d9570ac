//! Errors for people: the error and its causes, each said once.

/// An error with its causes, each said once: messages that hold their cause's text already
/// stand alone.
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
}
