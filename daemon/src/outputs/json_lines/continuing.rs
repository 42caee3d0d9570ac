//! Opening the results file of a session that is read back from its recording.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use super::{
    JsonLines, JsonLinesError, create_folder, error,
    held::{Held, Keys, key_of},
    lock,
};
use crate::{outputs::folder::free_name, recording::file::beside};

/// A results file that gets the recorded results which it lacks, one by one, so that a long session
/// needs little memory.
///
/// A file that holds a recorded line, byte for byte, is of this session: the lines that it lacks
/// are added at its end. A line that was cut is completed, or stays as a line of its own. Any other
/// file with content stays as it is, and an unused name is chosen. No file is changed before the
/// first recorded line.
pub struct Continuing {
    path: PathBuf,
    /// A pipe or a terminal holds nothing that could be lost.
    is_special: bool,
    held: Held,
    is_of_session: bool,
    /// What the cut line lacks, without the end of line; `None` while no recorded line completes
    /// it.
    end_of_cut_line: Option<Vec<u8>>,
    /// Recorded lines from before it was known where they belong.
    aside: Option<Aside>,
    /// The file, once that is known.
    lines: Option<JsonLines>,
}

/// A file beside the results, which is removed.
struct Aside(JsonLines);

impl Drop for Aside {
    fn drop(&mut self) {
        // It has another name now if it became the results file.
        std::fs::remove_file(&self.0.path).ok();
    }
}

impl Continuing {
    /// Reads what the file holds.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn open(path: &Path) -> Result<Self, JsonLinesError> {
        create_folder(path).map_err(error(path))?;
        let is_special = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        if let Ok(file) = File::open(path)
            && !is_special
        {
            lock(path, &file)?;
        }
        let held = if is_special { None } else { Held::read(path).map_err(error(path))? };
        let held = held.unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            is_special,
            is_of_session: held.is_empty(),
            held,
            end_of_cut_line: None,
            aside: None,
            lines: None,
        })
    }

    /// As [`Continuing::open`], for a file that is known to be of this session.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn of_session(path: &Path) -> Result<Self, JsonLinesError> {
        Ok(Self { is_of_session: true, ..Self::open(path)? })
    }

    /// Takes the line of a recorded result. Lines come in the order of the recording.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn recorded(&mut self, line: &[u8]) -> Result<(), JsonLinesError> {
        if let Some(lines) = &mut self.lines {
            return lines.recorded(line);
        }
        if !self.is_of_session && self.held.has_line(line) {
            self.is_of_session = true;
        }
        if self.held.is_completed_by(line) {
            let cut = self.held.cut.take().unwrap_or_default();
            self.end_of_cut_line = Some(line[cut.len()..].to_vec());
            key_of(line).into_iter().for_each(|key| self.held.keys.insert(key));
            self.is_of_session = true;
        }
        if self.is_of_session && self.held.cut.is_none() {
            return self.settled()?.recorded(line);
        }
        let aside = match self.aside.take() {
            Some(aside) => aside,
            None => Aside(JsonLines::create(&beside(&self.path, ".restart"))?),
        };
        self.aside.insert(aside).0.recorded(line)
    }

    /// The file, with all recorded lines.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn finish(mut self) -> Result<JsonLines, JsonLinesError> {
        if self.lines.is_none() && self.is_of_session {
            if let Some(cut) = self.held.cut.take() {
                key_of(&cut).into_iter().for_each(|key| self.held.keys.insert(key));
                self.end_of_cut_line = Some(Vec::new());
            }
            self.settled()?;
        }
        let mut lines = match self.lines.take() {
            Some(lines) => lines,
            None => self.elsewhere()?,
        };
        lines.flush()?;
        Ok(lines)
    }

    /// The file of this session, with the lines from aside.
    fn settled(&mut self) -> Result<&mut JsonLines, JsonLinesError> {
        self.held.forget_lines();
        let mut options = OpenOptions::new();
        if self.is_special {
            options.write(true)
        } else {
            options.append(true).create(true)
        };
        let keys = std::mem::take(&mut self.held.keys);
        let mut lines = JsonLines::of(&self.path, options.open(&self.path), keys)?;
        if let Some(end) = self.end_of_cut_line.take() {
            let write = lines.file.write_all(&end).and_then(|()| lines.file.write_all(b"\n"));
            write.map_err(error(&self.path))?;
        }
        if let Some(mut aside) = self.aside.take() {
            aside.0.flush()?;
            let path = &aside.0.path;
            let file = File::open(path).map_err(error(path))?;
            for line in BufReader::new(file).split(b'\n') {
                lines.recorded(&line.map_err(error(path))?)?;
            }
        }
        Ok(self.lines.insert(lines))
    }

    /// A file with an unused name, because this one is of another session.
    fn elsewhere(&mut self) -> Result<JsonLines, JsonLinesError> {
        let free = free_name(&self.path);
        tracing::warn!(
            path = %self.path.display(), now = %free.display(),
            "the results file is of another session and stays as it is; results go to a new file"
        );
        let keys = match self.aside.take() {
            Some(mut aside) => {
                aside.0.flush()?;
                std::fs::rename(&aside.0.path, &free).map_err(error(&free))?;
                std::mem::take(&mut aside.0.held)
            }
            None => Keys::default(),
        };
        let file = OpenOptions::new().append(true).create(true).open(&free);
        JsonLines::of(&free, file, keys)
    }
}

impl JsonLines {
    /// Writes the line of a recorded result, unless the file holds it.
    fn recorded(&mut self, line: &[u8]) -> Result<(), JsonLinesError> {
        let Some(key) = key_of(line) else { return self.line(line) };
        if !self.held.has(&key) {
            self.line(line)?;
            self.held.insert(key);
        }
        Ok(())
    }
}
