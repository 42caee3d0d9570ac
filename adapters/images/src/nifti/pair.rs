//! A `.hdr` and an `.img` that are one image: header and voxels in two files.

use std::path::{Path, PathBuf};

use crate::{beside::image_extension, error::AdapterError};

/// The files of header and voxels, if the name is that of a pair. Either file may be named.
///
/// # Errors
///
/// Fails when the other file is not there.
pub(crate) fn pair_of(path: &Path) -> Result<Option<(PathBuf, PathBuf)>, AdapterError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(extension) = image_extension(&name) else { return Ok(None) };
    let is_header = match extension.get(1..4).map(str::to_ascii_lowercase).as_deref() {
        Some("hdr") => true,
        Some("img") => false,
        _ => return Ok(None),
    };
    let stem = &name[..name.len() - extension.len()];
    let others = if is_header { ["img", "img.gz"] } else { ["hdr", "hdr.gz"] };
    let other = others
        .iter()
        .flat_map(|end| [(*end).to_owned(), end.to_ascii_uppercase()])
        .map(|end| path.with_file_name(format!("{stem}.{end}")))
        .find(|path| path.is_file());
    let Some(other) = other else {
        let (own, theirs) = if is_header { ("header", "voxels") } else { ("voxels", "header") };
        return Err(AdapterError::Malformed {
            path: path.to_owned(),
            reason: format!(
                "holds the {own} of a pair; expected the {theirs} beside it, in {stem}.{}",
                others[0]
            ),
        });
    };
    let (own, other) = (path.to_owned(), other);
    Ok(Some(if is_header { (own, other) } else { (other, own) }))
}
