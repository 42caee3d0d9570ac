//! Compares ids with the reference implementation: every text in the reference's list, as ids and
//! as a row for Stable Diffusion 1.5's text encoder.
//!
//! The reference has the ids of each text from two tokenizers, which mostly agree. If they do
//! not, the text decides which one to follow: OpenCLIP's repairs HTML and curly quotes, Hugging
//! Face's reads the names of special tokens as special tokens. This crate does neither.
//!
//! `CORTICAST_REFERENCE` can name another folder than `tests/data/reference`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::fs;

use common::{file, listed, manifest, number, run};
use corticast_models::{generator::prompt::PromptLayout, vocabulary::Vocabulary};
use serde_json::Value;

/// Names that Hugging Face's tokenizer reads as special tokens.
const SPECIAL: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];
/// Longest text that is printed, in characters.
const SHOWN: usize = 22;

/// The tokenizer whose ids a text should have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Follows {
    /// Both agree.
    Both,
    /// The text contains the name of a special token.
    OpenClip,
    /// The text contains something that OpenCLIP repairs.
    Sd15,
}

impl Follows {
    fn of(case: &Value) -> Self {
        let text = case["text"].as_str().unwrap().to_lowercase();
        match case["hf_equals_openclip_plus_eot_padding"].as_bool().unwrap() {
            true => Self::Both,
            false if SPECIAL.iter().any(|special| text.contains(special)) => Self::OpenClip,
            false => Self::Sd15,
        }
    }
}

#[test]
fn texts_become_the_ids_of_the_reference() {
    let manifest = manifest();
    let reference = &manifest["clip_bpe"];
    let (start_id, end_id) = (number(reference, "sot"), number(reference, "eot"));
    let vocabulary = Vocabulary::read(&file(reference, "vocab"), end_id).unwrap();
    let (start_id, end_id) = (start_id as i64, end_id as i64);
    let text = fs::read_to_string(file(reference, "file")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    assert_eq!(cases.len(), number(reference, "count"));
    let mut failed = Vec::new();
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        let follows = Follows::of(case);
        let passed = run(&name(text, follows), |compared| {
            let open_clip = listed(&case["ids"]);
            let sd15 = listed(&case["hf_sd15_77_padeot"]);
            let layout = PromptLayout { start_id, end_id, pad_id: end_id, n_token: sd15.len() };
            let ids = vocabulary.encode(text);
            let prompt = vocabulary.prompt(text, &layout);
            if follows != Follows::Sd15 {
                compared.add("ids", differing(&ids, &open_clip), 0.0);
            }
            let expected =
                if follows == Follows::OpenClip { row(&open_clip, &layout) } else { sd15.clone() };
            compared.add("row", differing(&prompt.ids, &expected), 0.0);
            compared.require("ids of the text", prompt.n_text == ids.len());
            compared.require("cut or not", prompt.is_cut == (ids.len() + 2 > sd15.len()));
        });
        if !passed {
            failed.push(text);
        }
    }
    assert!(failed.is_empty(), "other ids than the reference's: {failed:?}");
}

/// Number of ids that differ; surplus ids count.
fn differing(found: &[i64], expected: &[i64]) -> f64 {
    let differ = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    (differ + found.len().abs_diff(expected.len())) as f64
}

/// The row of some ids, cut to its length.
fn row(ids: &[i64], layout: &PromptLayout) -> Vec<i64> {
    let kept = &ids[..ids.len().min(layout.n_token - 2)];
    let mut row = [&[layout.start_id], kept, &[layout.end_id]].concat();
    row.resize(layout.n_token, layout.pad_id);
    row
}

/// The name of a text's case: the beginning of the text, and the tokenizer to follow.
fn name(text: &str, follows: Follows) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("text {shown:?}{more} as {follows:?}")
}
