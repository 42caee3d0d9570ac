//! Opening the files of a model: regular ones only, since a pipe waits for a writer and a device
//! may never end. Models depend on no crate with sockets, where the same check is for other files.

use std::{
    fs::File,
    io::{Error, ErrorKind, Result},
    path::Path,
};

/// Opens a regular file.
///
/// # Errors
///
/// Fails when it cannot be opened, or is a folder, a pipe, a socket or a device.
pub(crate) fn open(path: &Path) -> Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        let text = "it is a folder, a pipe or a device, expected a regular file";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_or_a_folder_is_no_file() {
        for path in ["/dev/zero", "/tmp"] {
            let error = open(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains("expected a regular file"), "{error}");
        }
    }
}
