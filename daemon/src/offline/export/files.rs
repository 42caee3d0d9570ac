//! Small files of an export.

use std::{fs, path::Path};

use serde_json::Value;

use super::error::{ExportError, io};
use crate::recording::file::beside;

/// Refuses to overwrite a file.
pub(super) fn check_free(path: &Path, force: bool) -> Result<(), ExportError> {
    if path.exists() && !force {
        return Err(ExportError::Exists(path.to_owned()));
    }
    Ok(())
}

/// Formats JSON for people.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes a small file atomically.
pub(super) fn put(path: &Path, text: &str) -> Result<(), ExportError> {
    let aside = beside(path, ".part");
    fs::write(&aside, text).and_then(|()| fs::rename(&aside, path)).map_err(io(path))
}
