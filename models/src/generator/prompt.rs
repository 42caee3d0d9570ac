//! The prompt of a clip: a text as a row of ids for the text encoder.
//!
//! A row is: start, the text, stop, padding. Its length is fixed, so the end of a longer text is
//! cut off, which the prompt records. A text without words gives the unconditional prompt.

use crate::vocabulary::Vocabulary;

/// Layout of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptLayout {
    /// Id before the text.
    pub start_id: i64,
    /// Id after the text.
    pub end_id: i64,
    /// Id that pads the row; in Stable Diffusion the same as `end_id`.
    pub pad_id: i64,
    /// Number of ids in a row; at least two, start and end.
    pub n_token: usize,
}

/// A text as a row of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Shape `[n_token]`.
    pub ids: Vec<i64>,
    /// Number of ids in the whole text, including those that were cut.
    pub n_text: usize,
    /// Whether the text was longer than the row.
    pub is_cut: bool,
}

impl Vocabulary {
    /// The prompt of a text. See [`encode`](Self::encode) for how it becomes ids.
    #[must_use]
    pub fn prompt(&self, text: &str, layout: &PromptLayout) -> Prompt {
        let text = self.encode(text);
        let n_kept = text.len().min(layout.n_token.saturating_sub(2));
        let mut ids = vec![layout.start_id];
        ids.extend(&text[..n_kept]);
        ids.push(layout.end_id);
        ids.resize(layout.n_token, layout.pad_id);
        Prompt { ids, n_text: text.len(), is_cut: n_kept < text.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAYOUT: PromptLayout = PromptLayout { start_id: 512, end_id: 513, pad_id: 7, n_token: 5 };

    /// Bytes only: a word of one letter is one id.
    fn vocabulary() -> Vocabulary {
        Vocabulary::parse("", 513).unwrap()
    }

    #[test]
    fn a_prompt_is_start_text_end_and_padding() {
        let a = vocabulary().encode("a")[0];
        let prompt = |text| vocabulary().prompt(text, &LAYOUT);
        assert_eq!(prompt("a").ids, [512, a, 513, 7, 7]);
        assert_eq!(prompt(" ").ids, [512, 513, 7, 7, 7]);
        let expected = Prompt { ids: vec![512, a, a, a, 513], n_text: 3, is_cut: false };
        assert_eq!(prompt("a a a"), expected);
    }

    #[test]
    fn the_end_of_a_long_text_is_cut_off_and_recorded() {
        let a = vocabulary().encode("a")[0];
        let expected = Prompt { ids: vec![512, a, a, a, 513], n_text: 4, is_cut: true };
        assert_eq!(vocabulary().prompt("a a a b", &LAYOUT), expected);
    }

    proptest! {
        #[test]
        fn a_prompt_has_the_row_s_length_a_start_and_an_end(text: String, n_token in 2..80_usize) {
            let prompt = vocabulary().prompt(&text, &PromptLayout { n_token, ..LAYOUT });
            prop_assert_eq!(prompt.ids.len(), n_token);
            prop_assert_eq!(prompt.ids[0], LAYOUT.start_id);
            let n_kept = prompt.n_text.min(n_token - 2);
            prop_assert_eq!(prompt.ids[1 + n_kept], LAYOUT.end_id);
            prop_assert_eq!(prompt.is_cut, n_kept < prompt.n_text);
        }
    }
}
