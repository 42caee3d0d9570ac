//! A recording as a log: its entries, and the events that ingest makes of them.
//!
//! Entries go through the same [`Ingest`] as in the live daemon, so that runs keep their names
//! and a volume that was recorded twice gives one event. Every run is admitted: recorded runs
//! passed admission when they were recorded.

use std::{path::Path, sync::Arc};

use corticast_wire::message::{Durability, FromAdapter};

use super::{
    format::Entry,
    reader::{Recording, RecordingError},
};
use crate::{
    config::signal::ContentDuplicates,
    intake::{ingest::Ingest, recorded::Recorded},
    signal::happening::{Event, Happening},
};

/// A recording that is read from its start. Iterate over it; after the last entry,
/// [`Log::recording`] says what was wrong with it.
pub struct Log {
    recording: Recording,
    ingest: Ingest,
}

impl Log {
    /// Opens a recording, whole or not.
    ///
    /// # Errors
    ///
    /// Fails when [`Recording::open`] does.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let ingest = Ingest::new(
            Arc::new(|_, _| Ok(())),
            String::new(),
            Durability::None,
            // Copies that the session dropped are not in the recording.
            ContentDuplicates::Keep,
            Recorded::default(),
        );
        Ok(Self { recording: Recording::open(path)?, ingest })
    }

    /// The recording, with the faults that were found so far.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.recording
    }
}

impl Iterator for Log {
    type Item = (Entry, Vec<Event>);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.recording.next()?;
        let events = if let Some(command) = entry.command() {
            let happenings = self.ingest.command(command).into_iter();
            let events = happenings.filter_map(|happening| match happening {
                Happening::Event(event) => Some(event),
                Happening::Command(_) => None,
            });
            events.collect()
        } else if let Some(Ok((message, _))) = entry.frames().map(|f| FromAdapter::parse(&f)) {
            self.ingest.handle(message).events
        } else {
            Vec::new()
        };
        Some((entry, events))
    }
}
