//! The run book: the runs of a session, their names, and the volumes accepted for each.
//!
//! A run is named by its BIDS entities. A run with the same entities as an earlier one is a repeat,
//! and its name gets the suffix `+2`, `+3` and so on. Only the newest run can be open.

use std::sync::Arc;

use bytes::Bytes;
use corticast_bold::{
    run::RunHeader,
    state::{Loader, Saver},
    time::TrIndex,
};
use corticast_wire::message::{Encoding, FromAdapter};

use super::{copies::RecentVolumes, index_set::IndexSet};
use crate::signal::happening::{EndedBy, Event, Run, RunNumber};

/// Most runs of one session; only a faulty adapter would send more.
pub(super) const MAX_RUNS: usize = 10_000;

/// The runs of a session, in order of their start.
#[derive(Default)]
pub(crate) struct RunBook(Vec<KnownRun>);

/// A run and its volumes.
pub(super) struct KnownRun {
    pub(super) run: Run,
    /// Who ended it; `None` while it is open.
    pub(super) ended: Option<EndedBy>,
    /// Indices of the volumes that were accepted.
    seen: IndexSet,
    pub(super) recent: RecentVolumes,
}

impl KnownRun {
    fn answers_to(&self, name: &str) -> bool {
        *self.run.name == *name || self.run.header.run_id() == name
    }

    /// Whether no volume is missing between the newest accepted volume and this one.
    pub(super) fn follows_on(&self, index: TrIndex) -> bool {
        self.seen.newest().map_or(index.0 == 0, |newest| index <= newest.next())
    }

    /// The lowest index that has not been accepted.
    pub(super) fn next_index(&self) -> u32 {
        self.seen.lowest_missing()
    }

    /// Whether the volume of an index was accepted.
    pub(super) fn has(&self, index: TrIndex) -> bool {
        self.seen.contains(index)
    }

    /// Marks the volume of an index as accepted.
    pub(super) fn accept(&mut self, index: TrIndex) {
        self.seen.insert(index);
    }

    fn end(&mut self, by: EndedBy, n_sent: Option<u32>) -> Event {
        self.ended = Some(by);
        self.recent.clear();
        Event::RunEnded { number: self.run.number, n_sent, by }
    }
}

impl RunBook {
    /// Notes an event that ingest accepted before: for a second book, which follows the first one
    /// at a distance.
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::RunStarted(run) => {
                let (seen, recent) = (IndexSet::default(), RecentVolumes::default());
                self.0.push(KnownRun { run: run.clone(), ended: None, seen, recent });
            }
            Event::Volume(number, volume) => {
                if let Some(known) = self.0.get_mut(number.0) {
                    known.accept(volume.header.index);
                }
            }
            Event::RunEnded { number, by, .. } => {
                if let Some(known) = self.0.get_mut(number.0) {
                    known.ended = Some(*by);
                }
            }
            Event::Mark(..) => {}
        }
    }

    /// The run of a number.
    pub(crate) fn run(&self, number: RunNumber) -> Option<&Run> {
        self.0.get(number.0).map(|known| &known.run)
    }

    /// The accepted volumes of each run.
    pub(super) fn seen(&self) -> impl Iterator<Item = &IndexSet> {
        self.0.iter().map(|known| &known.seen)
    }

    /// Adds the book to a checkpoint, without the bytes of recent volumes.
    pub(crate) fn save(&self, to: &mut Saver) {
        to.u64(self.0.len() as u64);
        for known in &self.0 {
            to.bytes(known.run.name.as_bytes());
            let header = FromAdapter::Run { header: (*known.run.header).clone(), resume: false };
            let frames = header.to_frames(Encoding::Json);
            to.bytes(frames.get(1).map(AsRef::as_ref).unwrap_or_default());
            to.u32(match known.ended {
                None => 0,
                Some(EndedBy::Adapter) => 1,
                Some(EndedBy::Operator) => 2,
                Some(EndedBy::Interruption) => 3,
            });
            known.seen.save(to);
        }
    }

    /// The book of a checkpoint. `None` when the bytes do not fit.
    pub(crate) fn load(from: &mut Loader<'_>) -> Option<Self> {
        let mut book = Self::default();
        for number in 0..usize::try_from(from.u64()?).ok()?.min(MAX_RUNS) {
            let name = std::str::from_utf8(from.bytes()?).ok()?.into();
            let frames = [Bytes::from_static(b"run"), Bytes::copy_from_slice(from.bytes()?)];
            let Ok((FromAdapter::Run { header, .. }, _)) = FromAdapter::parse(&frames) else {
                return None;
            };
            let ended = match from.u32()? {
                0 => None,
                1 => Some(EndedBy::Adapter),
                2 => Some(EndedBy::Operator),
                3 => Some(EndedBy::Interruption),
                _ => return None,
            };
            let run = Run { number: RunNumber(number), name, header: Arc::new(header) };
            let (seen, recent) = (IndexSet::load(from)?, RecentVolumes::default());
            book.0.push(KnownRun { run, ended, seen, recent });
        }
        Some(book)
    }

    /// How many runs have started.
    pub(super) fn n_run(&self) -> usize {
        self.0.len()
    }

    /// Whether the session has reached its limit of runs.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_RUNS
    }

    /// The open run.
    pub(super) fn open(&self) -> Option<&Run> {
        self.0.last().filter(|known| known.ended.is_none()).map(|known| &known.run)
    }

    /// The open run, if it has this name.
    pub(super) fn open_named(&mut self, name: &str) -> Option<&mut KnownRun> {
        self.0.last_mut().filter(|known| known.ended.is_none() && known.answers_to(name))
    }

    /// The open run, if a message of this run is for it. A sender that announced a run means that
    /// one, also when a later run answers to its name.
    pub(super) fn open_for(
        &mut self,
        name: &str,
        announced: Option<RunNumber>,
    ) -> Option<&mut KnownRun> {
        let means = |known: &KnownRun| announced.is_none_or(|number| number == known.run.number);
        self.open_named(name).filter(|known| means(known))
    }

    /// The newest run that a message of this run can be for.
    pub(super) fn newest_for(&self, name: &str, announced: Option<RunNumber>) -> Option<&KnownRun> {
        match announced.and_then(|number| self.0.get(number.0)) {
            Some(known) => Some(known).filter(|known| known.answers_to(name)),
            None => self.newest_named(name),
        }
    }

    /// The number of the run that was given this name, or else of the newest that answers to it.
    pub(super) fn number_of(&self, name: &str) -> Option<RunNumber> {
        let named = self.0.iter().rev().find(|known| *known.run.name == *name);
        named.or_else(|| self.newest_named(name)).map(|known| known.run.number)
    }

    /// The newest run with this name.
    pub(super) fn newest_named(&self, name: &str) -> Option<&KnownRun> {
        self.0.iter().rev().find(|known| known.answers_to(name))
    }

    /// The newest run of the same series with the same entities.
    pub(super) fn newest_like(&self, header: &RunHeader) -> Option<&KnownRun> {
        let id = header.run_id();
        let same = |known: &&KnownRun| {
            known.run.header.run_id() == id && known.run.header.series_id == header.series_id
        };
        self.0.iter().rev().find(same)
    }

    /// The name that a run with this header would get.
    pub(super) fn name_of(&self, header: &RunHeader) -> String {
        let id = header.run_id();
        let n_before = self.0.iter().filter(|known| known.run.header.run_id() == id).count();
        if n_before == 0 { id } else { format!("{id}+{}", n_before + 1) }
    }

    /// Starts a run.
    pub(super) fn start(&mut self, name: String, header: RunHeader) -> &KnownRun {
        let number = RunNumber(self.0.len());
        let run = Run { number, name: name.into(), header: Arc::new(header) };
        let (seen, recent) = (IndexSet::default(), RecentVolumes::default());
        self.0.push(KnownRun { run, ended: None, seen, recent });
        &self.0[number.0]
    }

    /// Ends the open run. `None` when no run is open.
    pub(super) fn end_open(&mut self, by: EndedBy, n_sent: Option<u32>) -> Option<Event> {
        let known = self.0.last_mut().filter(|known| known.ended.is_none())?;
        Some(known.end(by, n_sent))
    }
}
