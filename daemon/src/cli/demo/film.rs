//! The clips that the participant of the demo saw, with their captions.
//!
//! `corticast-train synth` writes them as `clips.jsonl` beside the session's volumes, one clip per
//! line. They are only compared with the decoded results, and are never an input of decoding.

use std::{fs, path::Path};

use anyhow::Context;
use serde::Deserialize;

/// One clip.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Clip {
    /// Start, seconds since the start of the run.
    pub(super) onset_s: f64,
    /// Description of the clip in words.
    pub(super) caption: String,
    /// Classes in the clip; several are possible.
    pub(super) classes: Vec<String>,
}

/// The clips of a run, by onset; all have the same duration.
#[derive(Clone, Debug)]
pub(super) struct Film {
    clips: Vec<Clip>,
    clip_s: f64,
}

impl Film {
    /// Reads `clips.jsonl`.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, holds no clips, or has an invalid line.
    pub(super) fn read(path: &Path, clip_s: f64) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let clips = text
            .lines()
            .enumerate()
            .map(|(at, line)| {
                serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), at + 1))
            })
            .collect::<anyhow::Result<Vec<Clip>>>()?;
        anyhow::ensure!(!clips.is_empty(), "{} is empty, expected clips", path.display());
        Ok(Self { clips, clip_s })
    }

    /// The clip shown at a time, in seconds since the start of the run.
    pub(super) fn at(&self, time_s: f64) -> Option<&Clip> {
        self.clips.iter().find(|clip| (clip.onset_s..clip.onset_s + self.clip_s).contains(&time_s))
    }

    /// Chance level: how often a random class out of `n_class` is in a clip.
    pub(super) fn chance(&self, n_class: usize) -> f64 {
        let n_shown: usize = self.clips.iter().map(|clip| clip.classes.len()).sum();
        n_shown as f64 / (self.clips.len() * n_class.max(1)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(lines: &str) -> anyhow::Result<Film> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), lines).unwrap();
        Film::read(file.path(), 2.0)
    }

    const TWO: &str = r#"{"clip": "a", "onset_s": 16.0, "caption": "a ball", "classes": ["toy"]}
{"clip": "b", "onset_s": 18.0, "caption": "a red dog", "classes": ["animal", "mammal", "plant"]}
"#;

    #[test]
    fn a_clip_is_found_by_the_time_it_was_shown_at() {
        let film = film(TWO).unwrap();
        let caption = |time_s| film.at(time_s).map(|clip| clip.caption.as_str());
        assert_eq!(caption(15.9), None);
        assert_eq!(caption(16.0), Some("a ball"));
        assert_eq!(caption(18.0), Some("a red dog"));
        assert_eq!(caption(20.0), None);
    }

    #[test]
    fn chance_is_the_share_of_classes_that_a_clip_shows() {
        // One and three classes of eight.
        assert!((film(TWO).unwrap().chance(8) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_line_that_is_no_clip_is_named() {
        let said = format!("{:#}", film("{\"onset_s\": 1}\n").unwrap_err());
        assert!(said.contains(":1: missing field `caption`"), "{said}");
        assert!(film("").is_err());
    }
}
