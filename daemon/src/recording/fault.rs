//! What is wrong with a recording: where it was cut, which bytes are damaged, or which read failed.

use std::path::PathBuf;

/// A fault of one file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: FaultKind,
}

/// The kind of a fault, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The file has no end: its writer was killed, the power failed, or the disk was full. All
    /// entries before byte `at` are read; the bytes behind it are part of one entry.
    Cut {
        /// First byte that is not part of a whole record.
        at: u64,
    },
    /// Some bytes are damaged. Costs the entries of the chunk that holds them, and no others.
    Damaged {
        /// First byte of the damaged part.
        from: u64,
        /// First byte after it.
        to: u64,
        /// What was found.
        reason: String,
    },
    /// The file is not there, but later files of the recording are. Costs everything in it.
    Missing,
    /// The file is a part of another session. Nothing in it is used.
    Foreign,
    /// The operating system could not read the file. Says nothing about the bytes behind `at`.
    Io {
        /// Where reading failed.
        at: u64,
        /// Error of the operating system.
        reason: String,
    },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.kind {
            FaultKind::Cut { at } => write!(f, "{path} was cut at byte {at}"),
            FaultKind::Damaged { from, to, reason } => {
                write!(f, "{path} is damaged between byte {from} and byte {to}: {reason}")
            }
            FaultKind::Missing => write!(
                f,
                "{path} is missing, but later files of the recording exist; if it was moved, put \
                 it back"
            ),
            FaultKind::Foreign => {
                write!(f, "{path} belongs to another session and is not used; move it away")
            }
            FaultKind::Io { at, reason } => {
                write!(f, "{path} cannot be read at byte {at}: {reason}")
            }
        }
    }
}

/// The faults found so far, each once and no more than 64 of them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    first: Vec<Fault>,
    n_more: usize,
}

impl Faults {
    /// Most faults that are kept; further ones are counted.
    const MAX: usize = 64;

    /// Adds a fault.
    pub(super) fn push(&mut self, fault: Fault) {
        if self.first.len() < Self::MAX {
            self.first.push(fault);
        } else {
            self.n_more += 1;
        }
    }

    /// The faults in the order of the files and bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.first.iter()
    }

    /// Whether no fault was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first failed read. Entries behind it may be intact, so nothing may be concluded from
    /// their absence.
    #[must_use]
    pub fn failed_read(&self) -> Option<&Fault> {
        self.iter().find(|fault| matches!(fault.kind, FaultKind::Io { .. }))
    }

    /// Whether some bytes are damaged, or a file is missing.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let is_loss =
            |kind: &FaultKind| matches!(kind, FaultKind::Damaged { .. } | FaultKind::Missing);
        self.iter().any(|fault| is_loss(&fault.kind))
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, fault) in self.first.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        if self.n_more > 0 {
            write!(f, "; and {} more", self.n_more)?;
        }
        Ok(())
    }
}
