//! Whether the files that a command writes are apart from those that it reads, and from each other.
//!
//! Two names can lead to one file: by links, or by another spelling. So a file that exists is known
//! by its device and inode, and one that does not exist by its folder and name.

use std::{
    fs::{self, FileType},
    os::unix::fs::{DirEntryExt as _, FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::name_of;

/// Folders within an input folder are looked into down to this depth, and through links.
const MAX_DEPTH: usize = 8;

/// Most links that are followed from one name; Linux allows as many.
const MAX_LINKS: usize = 40;

/// A command would write over a file that it reads, or two of its outputs into one file.
#[derive(Debug, thiserror::Error)]
pub enum NotApart {
    /// An output is an input.
    #[error("{what} is {path}, the same file as {input}; choose another file")]
    Input {
        /// Name of the output.
        what: String,
        /// Path of the output.
        path: PathBuf,
        /// Name and path of the input.
        input: String,
    },
    /// Two outputs are one file.
    #[error("{one} and {other} are both {path}; choose two files")]
    Twice {
        /// Name of an output.
        one: String,
        /// Name of the other one.
        other: String,
        /// Path of the file.
        path: PathBuf,
    },
    /// An output lies in a folder that must be empty for another one.
    #[error("{one} is {path}, in the folder of {other}; choose a place outside of it")]
    Within {
        /// Name of the output.
        one: String,
        /// Name of the output that fills the folder.
        other: String,
        /// Path of the file.
        path: PathBuf,
    },
    /// Something else than a file has the name of an output.
    #[error("{what} is {path}: it is {found}, expected a regular file")]
    NotAFile {
        /// Name of the output.
        what: String,
        /// Its path.
        path: PathBuf,
        /// What has that name.
        found: &'static str,
    },
}

/// What an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A file into which lines are written one after the other, so it may be a terminal, another
    /// device without a size, or a pipe that is open already.
    Stream,
    /// A folder that must be empty.
    NewFolder,
}

/// The files that a command reads and writes, each with the name that the user knows it by.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    inputs: Vec<(String, PathBuf)>,
    outputs: Vec<(String, PathBuf, Kind)>,
}

impl Apart {
    /// Adds a file that is read, or a folder in which every file may be read.
    pub fn input(&mut self, what: impl Into<String>, path: &Path) {
        self.inputs.push((what.into(), path.to_owned()));
    }

    /// Adds what is written.
    pub fn output(&mut self, what: impl Into<String>, path: &Path, kind: Kind) {
        self.outputs.push((what.into(), path.to_owned(), kind));
    }

    /// Checks that no output is an input, that no two outputs are the same, and that what exists has
    /// the kind of its output.
    ///
    /// # Errors
    ///
    /// Fails on the first output that is not apart from the others and from the inputs.
    pub fn check(&self) -> Result<(), NotApart> {
        for (k, (what, path, kind)) in self.outputs.iter().enumerate() {
            is_of_kind(what, path, *kind)?;
            let part = part_of(path);
            for (input, read) in &self.inputs {
                if let Some(path) = [path, &part].into_iter().find(|path| is_in(path, read)) {
                    let (what, path) = (what.clone(), path.clone());
                    let input = format!("{input} {}", read.display());
                    return Err(NotApart::Input { what, path, input });
                }
            }
            for (other, beside, other_kind) in &self.outputs[..k] {
                let both = || (what.clone(), other.clone(), path.clone());
                let is_part = is_same(&part, beside) || is_same(path, &part_of(beside));
                if is_same(path, beside) || is_part {
                    let (one, other, path) = both();
                    return Err(NotApart::Twice { one: other, other: one, path });
                }
                if *other_kind == Kind::NewFolder && is_within(path, beside) {
                    let (one, other, path) = both();
                    return Err(NotApart::Within { one, other, path });
                }
                if *kind == Kind::NewFolder && is_within(beside, path) {
                    let (one, other, path) = (other.clone(), what.clone(), beside.clone());
                    return Err(NotApart::Within { one, other, path });
                }
            }
        }
        Ok(())
    }
}

/// The path without links, as far as it exists.
#[must_use]
pub fn resolved(path: &Path) -> PathBuf {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..MAX_LINKS {
        if let Ok(found) = path.canonicalize() {
            return found;
        }
        // A link to a file that does not exist: writing makes that file.
        let Ok(to) = path.read_link() else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(to);
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => path,
    }
}

/// The name of a file until it is complete.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Whether two names lead to one file.
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), Err(_)) => resolved(one) == resolved(other),
        _ => false,
    }
}

fn is_within(path: &Path, folder: &Path) -> bool {
    resolved(path).starts_with(resolved(folder))
}

/// Whether an output is this input, or a file in it.
fn is_in(output: &Path, input: &Path) -> bool {
    // What does not exist is not read, and a device cannot be lost.
    let Ok(found) = fs::metadata(output) else { return false };
    if input.is_dir() {
        return found.is_file() && holds(input, (found.dev(), found.ino()), MAX_DEPTH);
    }
    !is_device(found.file_type()) && is_same(output, input)
}

/// Whether a file with this device and inode is in a folder. What cannot be listed cannot be read.
fn holds(folder: &Path, node: (u64, u64), depth: usize) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let Ok(kind) = entry.file_type() else { return false };
        if kind.is_file() && entry.ino() != node.1 {
            return false;
        }
        let path = entry.path();
        let Ok(found) = fs::metadata(&path) else { return false };
        match found.is_dir() {
            true => depth > 0 && holds(&path, node, depth - 1),
            false => (found.dev(), found.ino()) == node,
        }
    })
}

fn is_device(kind: FileType) -> bool {
    kind.is_char_device()
}

/// Checks that an output, if it exists, is a regular file or what else its kind allows.
fn is_of_kind(what: &str, path: &Path, kind: Kind) -> Result<(), NotApart> {
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    let found = found.file_type();
    let is_allowed = match kind {
        Kind::File => found.is_file(),
        Kind::Stream => {
            found.is_file() || is_device(found) || (found.is_fifo() && is_descriptor(path))
        }
        // The command that makes the folder checks what stands there.
        Kind::NewFolder => true,
    };
    match is_allowed {
        true => Ok(()),
        false => {
            let (what, path) = (what.to_owned(), path.to_owned());
            Err(NotApart::NotAFile { what, path, found: name_of(found) })
        }
    }
}

/// Whether a path names a descriptor of this process, as `/dev/stdout` does. Its pipe is open, so
/// opening it again does not wait for a reader.
fn is_descriptor(path: &Path) -> bool {
    let is_standard = ["/dev/stdout", "/dev/stderr"].map(Path::new).contains(&path);
    is_standard || ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests;
