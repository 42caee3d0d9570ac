//! Ingest: the daemon's decision on each message from an adapter.
//!
//! Pure: messages in, answers and accepted events out. Every accepted message is written to the
//! recording with its original bytes, and its event goes to the signal thread; replaying the
//! recording through this same code accepts the same events again.
//!
//! A volume is identified by (run, index). A volume that was accepted before is acknowledged again
//! without any other effect, so an adapter may repeat every volume it is unsure of. A volume with
//! the same bytes as a recent one of another index is a copy with a wrong index, and is dropped.

use std::sync::PoisonError;

use corticast_bold::{run::RunHeader, time::TrIndex};
use corticast_wire::message::{
    Ack, Durability, End, FromAdapter, MessageError, PROTOCOL, Ready, RefusalCode, Refused,
    ToAdapter, VolumeMessage,
};

use super::{
    recorded::Recorded,
    run_book::{KnownRun, MAX_RUNS, RunBook},
    verdict::{IngestError, MAX_INDEX, Verdict},
};
use crate::{
    config::signal::ContentDuplicates,
    plan::admission::Admission,
    signal::happening::{Command, EndedBy, Event, Happening, Run, RunNumber},
};

/// The runs of a session and their volumes. See the module docs.
pub struct Ingest {
    admission: Admission,
    instance: String,
    durability: Durability,
    copies: ContentDuplicates,
    recorded: Recorded,
    book: RunBook,
    /// The open run was restored after a restart, and no adapter has announced it since.
    is_unannounced: bool,
    /// Messages come from the recording: their runs were admitted when they were recorded.
    is_restoring: bool,
}

impl Ingest {
    /// A session without runs.
    #[must_use]
    pub fn new(
        admission: Admission,
        instance: String,
        durability: Durability,
        copies: ContentDuplicates,
        recorded: Recorded,
    ) -> Self {
        let book = RunBook::default();
        Self {
            admission,
            instance,
            durability,
            copies,
            recorded,
            book,
            is_unannounced: false,
            is_restoring: false,
        }
    }

    /// The open run.
    #[must_use]
    pub fn open_run(&self) -> Option<&Run> {
        self.book.open()
    }

    /// The number of the run that was given this name, or else of the newest that answers to it.
    #[must_use]
    pub fn number_of(&self, run: &str) -> Option<RunNumber> {
        self.book.number_of(run)
    }

    /// Refuses a message of an adapter whose run another one has announced since.
    pub(super) fn taken_over(&self, run: &str) -> Verdict {
        self.refuse_run(
            run.to_owned(),
            "another adapter has announced this run since and owns it; stop one of the two"
                .to_owned(),
        )
    }

    /// Marks the start of restoring from a recording. Its runs were admitted when they were
    /// recorded, whatever the free disk is now.
    pub fn begin_restoring(&mut self) {
        self.is_restoring = true;
    }

    /// Takes the runs of a checkpoint.
    pub(crate) fn load(&mut self, book: RunBook) {
        self.book = book;
    }

    /// Notes a volume that was accepted before the checkpoint, to know its copies.
    pub(crate) fn remember(&mut self, volume: &VolumeMessage) {
        if let Some(known) = self.book.open_named(&volume.header.run) {
            known.recent.copy_of(volume);
        }
    }

    /// Marks the end of restoring from a recording. The previous process may have died with volumes
    /// it had not recorded, while later volumes still wait in a socket. Until the run is announced
    /// again, only a volume that leaves no gap is accepted.
    pub fn take_up(&mut self) {
        self.is_unannounced = true;
        self.is_restoring = false;
    }

    /// Decides on one message of a sender that is not known.
    pub fn handle(&mut self, message: FromAdapter) -> Verdict {
        self.handle_from(message, None)
    }

    /// Decides on one message. `announced` is the run that its sender announced last: its messages
    /// are for no other one.
    pub fn handle_from(&mut self, message: FromAdapter, announced: Option<RunNumber>) -> Verdict {
        match message {
            FromAdapter::Run { header, resume } => self.run(header, resume),
            FromAdapter::Volume(volume) => self.volume(volume, announced),
            FromAdapter::Mark(mark) => match self.book.open_for(&mark.run, announced) {
                Some(known) => Verdict {
                    events: vec![Event::Mark(known.run.number, mark)],
                    ..Verdict::default()
                },
                None => self.unknown(&mark.run, None),
            },
            FromAdapter::End(end) => self.end(&end, announced),
            FromAdapter::Ping => Verdict::default(),
        }
    }

    /// Turns a command into happenings for the session, in order. Ends the open run if the command
    /// does.
    pub fn command(&mut self, command: Command) -> Vec<Happening> {
        let ended = match command {
            Command::EndRun | Command::Abort => self.end_open_run(EndedBy::Operator),
            Command::Stop => self.end_open_run(EndedBy::Interruption),
            _ => None,
        };
        // `status` changes nothing, so it needs no turn behind the volumes.
        let command = (command != Command::Status).then_some(Happening::Command(command));
        ended.map(Happening::Event).into_iter().chain(command).collect()
    }

    /// Ends the open run without an `end` from the adapter.
    pub fn end_open_run(&mut self, by: EndedBy) -> Option<Event> {
        self.book.end_open(by, None)
    }

    fn run(&mut self, header: RunHeader, resume: bool) -> Verdict {
        self.is_unannounced = false;
        let id = header.run_id();
        let last = self.book.newest_like(&header);
        if let Some(known) = last.filter(|known| known.run.header.space == header.space) {
            match known.ended {
                // The adapter or the daemon was restarted, or the run ended and only our answer was
                // lost. The adapter may repeat volumes it is unsure of.
                None => return self.still_ready(known),
                Some(EndedBy::Adapter) if resume => return self.still_ready(known),
                Some(EndedBy::Operator) if resume => {
                    return self.refuse_run(id, "the operator ended this run".to_owned());
                }
                // Two adapters that take turns would end each other's run with every volume.
                Some(EndedBy::Interruption) if resume && !self.is_restoring => {
                    let reason = "this run ended when another one was started; stop one of the two \
                                  adapters";
                    return self.refuse_run(id, reason.to_owned());
                }
                Some(_) => {}
            }
        }
        if self.book.is_full() {
            return self.refuse_run(id, format!("the session already has {MAX_RUNS} runs"));
        }
        if !self.is_restoring
            && let Err(reason) = (self.admission)(&header, self.book.n_run())
        {
            return self.refuse_run(id, reason);
        }
        let mut verdict = Verdict::default();
        let name = self.book.name_of(&header);
        if let Some(ended) = self.open_run().map(|run| run.name.to_string()) {
            verdict.events.extend(self.end_open_run(EndedBy::Interruption));
            verdict.problem = Some(IngestError::NoEnd { ended, started: name.clone() });
        }
        let known = self.book.start(name, header);
        let run = known.run.clone();
        verdict.replies.push(self.ready(run.name.to_string(), 0));
        verdict.events.push(Event::RunStarted(run));
        verdict
    }

    fn still_ready(&self, known: &KnownRun) -> Verdict {
        let reply = self.ready(known.run.name.to_string(), self.next_index(known));
        Verdict { replies: vec![reply], duplicate: true, ..Verdict::default() }
    }

    /// The first volume that the adapter has to send. In a recorded session that is the first one
    /// that is not safe: an adapter that was started again skips those before it for good.
    fn next_index(&self, known: &KnownRun) -> u32 {
        let accepted = known.next_index();
        if self.durability == Durability::None {
            return accepted;
        }
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.lowest_missing(known.run.number).min(accepted)
    }

    fn ready(&self, run: String, next_index: u32) -> ToAdapter {
        let (durability, instance) = (self.durability, self.instance.clone());
        ToAdapter::Ready(Ready { protocol: PROTOCOL, run, durability, next_index, instance })
    }

    fn refuse_run(&self, run: String, reason: String) -> Verdict {
        let refused = Refused {
            run: Some(run.clone()),
            index: None,
            code: RefusalCode::RunRefused,
            reason: reason.clone(),
        };
        Verdict {
            replies: vec![ToAdapter::Refused(refused)],
            problem: Some(IngestError::RunRefused { run, reason }),
            ..Verdict::default()
        }
    }

    fn unknown(&self, run: &str, index: Option<u32>) -> Verdict {
        let open = self.open_run().map(|run| run.name.to_string());
        let problem = IngestError::UnknownRun { run: run.to_owned(), open };
        Verdict {
            replies: vec![ToAdapter::Refused(Refused {
                run: Some(run.to_owned()),
                index,
                code: RefusalCode::UnknownRun,
                reason: problem.to_string(),
            })],
            problem: Some(problem),
            ..Verdict::default()
        }
    }

    fn volume(&mut self, volume: VolumeMessage, announced: Option<RunNumber>) -> Verdict {
        let name = volume.header.run.clone();
        let index = volume.header.index;
        let Some(known) = self.book.open_for(&name, announced) else {
            return match self.book.newest_for(&name, announced) {
                Some(known) if known.has(index) => {
                    let ack = Ack { run: name, index: Some(index.0) };
                    self.again(known.run.number, index, ack)
                }
                _ => self.unknown(&name, Some(index.0)),
            };
        };
        let number = known.run.number;
        let refuse = |code: RefusalCode, problem: IngestError| Verdict {
            replies: vec![ToAdapter::Refused(Refused {
                run: Some(name.clone()),
                index: Some(index.0),
                code,
                reason: problem.to_string(),
            })],
            problem: Some(problem),
            ..Verdict::default()
        };
        if self.is_unannounced && !known.follows_on(index) {
            let problem = IngestError::Overtaken { run: name.clone(), index: index.0 };
            return refuse(RefusalCode::UnknownRun, problem);
        }
        if index.0 >= MAX_INDEX {
            let problem = IngestError::Index { run: name.clone(), index: index.0 };
            return refuse(RefusalCode::DoesNotFit, problem);
        }
        if let Err(error) = volume.check(&known.run.header.space) {
            let code = match error {
                MessageError::Checksum { .. } => RefusalCode::Damaged,
                _ => RefusalCode::DoesNotFit,
            };
            return refuse(code, error.into());
        }
        let ack = Ack { run: name.clone(), index: Some(index.0) };
        if known.has(index) {
            return self.again(number, index, ack);
        }
        if self.copies == ContentDuplicates::Drop
            && let Some(same_as) = known.recent.copy_of(&volume)
        {
            let problem = IngestError::Copy { run: name, index: index.0, same_as: same_as.0 };
            return Verdict {
                replies: vec![ToAdapter::Ack(ack)],
                problem: Some(problem),
                duplicate: true,
                ..Verdict::default()
            };
        }
        known.accept(index);
        Verdict {
            events: vec![Event::Volume(number, volume)],
            acknowledge: Some((number, ack)),
            ..Verdict::default()
        }
    }

    /// A volume that was accepted before. It may not be recorded yet, because the recorder was behind
    /// or dropped it: it is recorded now, and acknowledged then.
    fn again(&self, number: RunNumber, index: TrIndex, ack: Ack) -> Verdict {
        let is_safe = self.durability == Durability::None
            || self.recorded.lock().is_ok_and(|safe| safe.contains(number, index));
        let (reply, acknowledge) =
            if is_safe { (Some(ToAdapter::Ack(ack)), None) } else { (None, Some((number, ack))) };
        let replies = reply.into_iter().collect();
        Verdict { replies, acknowledge, duplicate: true, ..Verdict::default() }
    }

    fn end(&mut self, end: &End, announced: Option<RunNumber>) -> Verdict {
        let ack = Ack { run: end.run.clone(), index: None };
        let Some(known) = self.book.open_for(&end.run, announced) else {
            if self.book.newest_for(&end.run, announced).is_none() {
                return self.unknown(&end.run, None);
            }
            return Verdict {
                replies: vec![ToAdapter::Ack(ack)],
                duplicate: true,
                ..Verdict::default()
            };
        };
        let number = known.run.number;
        let ended = self.book.end_open(EndedBy::Adapter, end.n_sent);
        Verdict {
            events: ended.into_iter().collect(),
            acknowledge: Some((number, ack)),
            ..Verdict::default()
        }
    }
}

#[cfg(test)]
mod tests;
