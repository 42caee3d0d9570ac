//! A manifest as text: the part of reading that `manifest.toml` and `video.toml` share.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::error::ManifestError;
use crate::regular;

/// Longest manifest that is read, in bytes; thousands of class names take less.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The text of a manifest of the expected format, and where it came from.
pub(super) struct Document {
    path: PathBuf,
    text: String,
}

#[derive(Deserialize)]
struct Versioned {
    format: i64,
}

impl Document {
    /// Reads a manifest and checks its format before anything else: in a newer manifest, an
    /// unknown key is not the news.
    pub(super) fn read(path: PathBuf, format: u32) -> Result<Self, ManifestError> {
        let text = read_text(&path)?;
        let document = Self { path, text };
        let Versioned { format: found } = document.parse()?;
        if found == i64::from(format) {
            return Ok(document);
        }
        Err(ManifestError::Format { path: document.path, found, expected: format })
    }

    /// The manifest as a type; an error has line and column.
    pub(super) fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ManifestError> {
        toml::from_str(&self.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = self.text.get(..start).unwrap_or(&self.text);
            ManifestError::Parse {
                path: self.path.clone(),
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
                reason: error.message().to_owned(),
            }
        })
    }

    /// The text as it was read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The error for a value that is wrong in itself or does not fit another.
    pub(super) fn refuse(&self, key: &str, reason: impl Into<String>) -> ManifestError {
        ManifestError::Value { path: self.path.clone(), key: key.into(), reason: reason.into() }
    }

    /// A name for metrics and recordings.
    pub(super) fn name(&self, name: String) -> Result<String, ManifestError> {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            let reason = format!("is {name:?}, expected 1 to 128 printable bytes");
            return Err(self.refuse("name", reason));
        }
        Ok(name)
    }

    /// A size that must be 1 to `most`.
    pub(super) fn within(
        &self,
        key: &str,
        found: usize,
        most: usize,
    ) -> Result<usize, ManifestError> {
        if (1..=most).contains(&found) {
            Ok(found)
        } else {
            Err(self.refuse(key, format!("is {found}, expected 1 to {most}")))
        }
    }
}

fn read_text(path: &Path) -> Result<String, ManifestError> {
    let io = |source| ManifestError::Io { path: path.into(), source };
    let file = regular::open(path).map_err(io)?;
    let mut text = String::new();
    file.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    let found = text.len() as u64;
    if found > MAX_MANIFEST_BYTES {
        let at_most = MAX_MANIFEST_BYTES;
        return Err(ManifestError::TooLong { path: path.into(), found, at_most });
    }
    Ok(text)
}
