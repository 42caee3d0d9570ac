//! Checkpoints: the state of a session now and then, so that a restart need not read all of a long
//! recording.
//!
//! A checkpoint says: all messages up to this one, and all commands up to that one, are in this
//! state. A restart takes the newest one and feeds only what came after it. Without a checkpoint,
//! or if it does not fit, a restart reads everything, with the same outcome.

use corticast_bold::state::{Loader, Saver};

use super::{
    happening::{EndedBy, Event, Happening},
    session::Session,
};
use crate::intake::run_book::RunBook;

/// Version of the layout. A checkpoint of another version is not used.
const VERSION: u32 = 2;

/// Volumes between two checkpoints, in bytes, at least.
const MIN_BYTES: usize = 64 << 20;
/// Bytes of volumes between two checkpoints for each byte of the last one, so that checkpoints are
/// a small part of the recording.
const SHARE: usize = 16;
/// Volumes after which a checkpoint is due whatever their size, if the share allows it.
const MAX_VOLUMES: u32 = 4096;

/// Follows the signal thread, and says when a checkpoint is due.
#[derive(Default)]
pub struct Progress {
    book: RunBook,
    last_message_ns: Option<u64>,
    last_command_ns: Option<u64>,
    n_byte: usize,
    n_volume: u32,
    last_size: usize,
}

impl Progress {
    /// Starts with the runs of the happenings that were processed before.
    #[must_use]
    pub(crate) fn new(book: RunBook) -> Self {
        Self { book, ..Self::default() }
    }

    /// Notes a happening before the session gets it. Returns whether a checkpoint may follow it:
    /// not between two happenings of one message.
    pub(super) fn note(&mut self, happening: &Happening, received_ns: u64) -> bool {
        match happening {
            Happening::Command(_) => {
                self.last_command_ns = Some(received_ns);
                false
            }
            Happening::Event(event) => {
                self.book.note(event);
                if let Event::RunEnded { by: EndedBy::Operator, .. } = event {
                    return false;
                }
                self.last_message_ns = Some(received_ns);
                if let Event::Volume(_, volume) = event {
                    self.n_byte += volume.voxels.len();
                    self.n_volume += 1;
                }
                matches!(event, Event::Volume(..) | Event::RunEnded { by: EndedBy::Adapter, .. })
            }
        }
    }

    /// The checkpoint after the last happening, if one is due, and the time of the last message.
    pub(super) fn due(&mut self, session: &Session) -> Option<(u64, Vec<u8>)> {
        let share = SHARE * self.last_size;
        let is_due = self.n_byte >= MIN_BYTES.max(share)
            || (self.n_volume >= MAX_VOLUMES && self.n_byte >= share);
        let last_message_ns = self.last_message_ns.filter(|_| is_due)?;
        // It grows by little from one to the next.
        let mut to = Saver::with_capacity(self.last_size + self.last_size / 16);
        to.u32(VERSION);
        // Since when no command came, before the last message; a command can also come after it.
        let behind =
            self.last_command_ns.map(|last| i128::from(last_message_ns) - i128::from(last));
        to.u32(u32::from(behind.is_some()));
        to.u64(behind.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(0) as u64);
        self.book.save(&mut to);
        session.save(&mut to)?;
        let bytes = to.finish();
        (self.n_byte, self.n_volume, self.last_size) = (0, 0, bytes.len());
        Some((last_message_ns, bytes))
    }
}

/// A checkpoint that was read back.
pub(crate) struct Checkpoint<'a> {
    /// Time of the last command that is part of the state, nanoseconds before the last message.
    pub(crate) last_command_before_ns: Option<i64>,
    /// The runs.
    pub(crate) book: RunBook,
    /// The state of the session, for [`Session::load`].
    pub(crate) session: Loader<'a>,
}

impl<'a> Checkpoint<'a> {
    /// Reads a checkpoint. `None` when it is of another version.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut from = Loader::new(bytes);
        if from.u32()? != VERSION {
            return None;
        }
        let has_command = from.u32()? == 1;
        let before_ns = from.u64()? as i64;
        let book = RunBook::load(&mut from)?;
        let last_command_before_ns = has_command.then_some(before_ns);
        Some(Self { last_command_before_ns, book, session: from })
    }
}
