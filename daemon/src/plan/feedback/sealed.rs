//! The sealed assignment of a session: opened with the study's key, and marked as used.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use corticast_bold::feedback::{
    options::ShamOptions,
    seal::{Assignment, SealError, SealedAssignment, StudyKey},
};

use super::files;
use crate::{config::Config, plan::error::PlanError};

/// The file beside a sealed assignment that names the session which used it.
#[must_use]
pub fn used_mark(assignment: &Path) -> PathBuf {
    let mut name = assignment.as_os_str().to_owned();
    name.push(".used");
    PathBuf::from(name)
}

/// The session that a mark names.
///
/// # Errors
///
/// Fails when the mark cannot be read; [`std::io::ErrorKind::NotFound`] without one.
pub fn used_by(mark: &Path) -> std::io::Result<String> {
    /// Longest name of a session that is read.
    const MAX_BYTES: u64 = 4096;
    corticast_wire::files::read_text(mark, MAX_BYTES)
}

/// Notes that this session uses the sealed assignment of its feedback, if it has one. Another
/// session is then refused, and so is another daemon that gives the same name to its session while
/// the returned file is open.
///
/// # Errors
///
/// Fails when the session is not recorded, when the mark cannot be written, or when another session
/// or another daemon was faster.
pub fn mark_used(config: &Config) -> Result<Option<File>, PlanError> {
    let sham = config.feedback.as_ref().and_then(|options| options.sham.as_ref());
    let Some(ShamOptions { assignment, .. }) = sham else { return Ok(None) };
    if config.recording.file.is_none() {
        return Err(PlanError::Feedback(
            "a session with a sealed assignment needs a recording: only it holds the participant's \
             own scores; give one with --record or `file` of [recording]"
                .to_owned(),
        ));
    }
    let path = used_mark(assignment);
    let failed = |reason: &dyn std::fmt::Display| {
        PlanError::Feedback(format!("cannot write {}: {reason}", path.display()))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // The mark gets its name when it is complete, so a crash leaves none that names nobody.
    let mut mark = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| failed(&error))?;
    let name = &config.session.name;
    let held = |mark: File| match mark.try_lock() {
        Err(TryLockError::WouldBlock) => Err(PlanError::Feedback(format!(
            "another daemon runs session `{name}` with the sealed assignment {}; stop that daemon, \
             or give this session its own name and assignment",
            assignment.display()
        ))),
        // Some file systems cannot lock; the name in the mark still keeps other sessions out.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(mark)),
    };
    std::io::Write::write_all(&mut mark, name.as_bytes())
        .and_then(|()| mark.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    match mark.persist_noclobber(&path) {
        Ok(mark) => held(mark),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            let used_by = used_by(&path).map_err(|error| failed(&error))?;
            if used_by == *name {
                return held(File::open(&path).map_err(|error| failed(&error))?);
            }
            let session = name.clone();
            Err(PlanError::Feedback(SealError::Used { used_by, session }.to_string()))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Opens a sealed assignment for a session. Returns its participant too.
pub(super) fn open(sham: &ShamOptions, session: &str) -> Result<(Assignment, String), PlanError> {
    let sealed: SealedAssignment = files::json(&sham.assignment)?;
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        PlanError::Feedback(format!("{}: {error}", path.display()))
    };
    let key = key(&sham.key)?;
    let mark = used_mark(&sham.assignment);
    let used_by = match used_by(&mark) {
        Ok(name) => Some(name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&mark, &error)),
    };
    let participant = sealed.participant.clone();
    let assignment = sealed
        .open(&key, &participant, session, used_by.as_deref())
        .map_err(|error| failed(&sham.assignment, &error))?;
    Ok((assignment, participant))
}

/// Reads the key of a study.
///
/// # Errors
///
/// Fails when the file cannot be read or holds anything but 64 hexadecimal digits.
pub fn key(path: &Path) -> Result<StudyKey, PlanError> {
    let wrong =
        |error: &dyn std::fmt::Display| PlanError::Feedback(format!("{}: {error}", path.display()));
    let text = String::from_utf8(files::read(path)?)
        .map_err(|_| wrong(&"not text, expected 64 hexadecimal digits"))?;
    StudyKey::from_hex(&text).map_err(|error| wrong(&error))
}
