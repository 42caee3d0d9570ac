//! Small files that people name: keys, tables, masks, sidecars.
//!
//! Only regular files are opened. A pipe would wait for a writer, and a device may never end. What
//! is read has a limit, also when the file grows meanwhile.

pub mod apart;

use std::{
    fs::{File, FileType},
    io::{Error, ErrorKind, Read as _, Result},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

/// Opens a regular file.
///
/// # Errors
///
/// Fails when it cannot be opened, or is a folder, a pipe, a socket or a device.
pub fn open(path: &Path) -> Result<File> {
    // Opening a pipe would wait, so its type is looked at before.
    is_regular(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    is_regular(&file.metadata()?)?;
    Ok(file)
}

fn is_regular(found: &std::fs::Metadata) -> Result<()> {
    let kind = found.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let text = format!("it is {}, expected a regular file", name_of(kind));
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// What has the name of a file, in words.
fn name_of(kind: FileType) -> &'static str {
    match () {
        () if kind.is_file() => "a file",
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

/// The bytes of a regular file of at most `max_bytes` bytes.
///
/// # Errors
///
/// Fails when it cannot be read, is no regular file, or is longer.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let found = file.metadata()?.len();
    if found > max_bytes {
        return Err(too_long(found, max_bytes));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        found if found > max_bytes => Err(too_long(found, max_bytes)),
        _ => Ok(bytes),
    }
}

fn too_long(found: u64, max_bytes: u64) -> Error {
    let text = format!("it is {found} bytes long, expected at most {max_bytes}");
    Error::new(ErrorKind::FileTooLarge, text)
}

/// As [`read`], as text.
///
/// # Errors
///
/// As [`read`], and when the file is not UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    String::from_utf8(read(path, max_bytes)?)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_up_to_their_limit_are_read() {
        let name = format!("corticast-files-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let (file, socket) = (folder.join("a"), folder.join("s"));
        std::fs::write(&file, "four").unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(read_text(&file, 4).unwrap(), "four");
        let refusal = |path: &Path| read(path, 3).unwrap_err().to_string();
        assert_eq!(refusal(&file), "it is 4 bytes long, expected at most 3");
        assert_eq!(refusal(&folder), "it is a folder, expected a regular file");
        assert_eq!(refusal(&socket), "it is a socket, expected a regular file");
        assert_eq!(refusal(Path::new("/dev/zero")), "it is a device, expected a regular file");
        assert_eq!(read(&folder.join("b"), 3).unwrap_err().kind(), ErrorKind::NotFound);
        let pipe = folder.join("p");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(refusal(&pipe), "it is a pipe, expected a regular file");
        // Its size says nothing, so the limit counts what is read.
        assert!(read(Path::new("/proc/self/maps"), 100).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
