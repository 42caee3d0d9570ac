//! Ingest: what the daemon makes of each message from an adapter.
//!
//! Pure: messages in, answers and accepted events out. Every accepted event is written to the
//! recording as it came and handed to the signal thread; replaying the recording through this
//! same code accepts the same events again.
//!
//! A volume is known by (run, index). One that was accepted before is acknowledged again and
//! otherwise costs nothing, so an adapter may send again whatever it is unsure of. A volume
//! whose bytes equal those of a recent one under another index is a copy that lies about its
//! number, and is dropped.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use corticast_bold::{run::RunHeader, time::TrIndex};
use corticast_wire::message::{
    Ack, Durability, End, FromAdapter, MessageError, PROTOCOL, Ready, RefusalCode, Refused,
    ToAdapter, VolumeMessage,
};

use crate::{
    config::signal::ContentDuplicates,
    plan::admission::Admission,
    signal::happening::{Command, EndedBy, Event, Happening, Run, RunNumber},
};

/// Volumes whose bytes a new one is compared with.
const COMPARED_VOLUMES: usize = 16;
/// Runs of one session; a daemon that sees more was fed garbage.
const MAX_RUNS: usize = 10_000;
/// Volumes of one run: at the shortest TR in use, 0.1 s, more than a day.
const MAX_INDEX: u32 = 1_000_000;

/// What is in the recording. Written by the recorder, read by ingest.
pub type Recorded = Arc<Mutex<HashSet<(RunNumber, TrIndex)>>>;

/// What becomes of one message.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What to answer now.
    pub replies: Vec<ToAdapter>,
    /// What was accepted.
    pub events: Vec<Event>,
    /// What to acknowledge once the message is in the recording.
    pub acknowledge: Option<(RunNumber, Ack)>,
    /// What the operator should know.
    pub problem: Option<IngestError>,
    /// Whether the message was a duplicate.
    pub duplicate: bool,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It cannot be read, or does not fit its run.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its run is not open.
    #[error("`{run}` is not open{}; send `run` first", open_run(.open.as_deref()))]
    UnknownRun {
        /// Which run the message names.
        run: String,
        /// Which run is open.
        open: Option<String>,
    },
    /// Volumes before it were lost with the process before this one.
    #[error(
        "the daemon was restarted and lacks volumes of `{run}` before {index}; send `run` first"
    )]
    Overtaken {
        /// Which run the message names.
        run: String,
        /// Its index.
        index: u32,
    },
    /// The run may not start.
    #[error("run `{run}` is refused: {reason}")]
    RunRefused {
        /// Which run.
        run: String,
        /// What was found and expected.
        reason: String,
    },
    /// The index is not believed.
    #[error("`{run}` announces volume index {index}, expected less than {MAX_INDEX}")]
    Index {
        /// Which run.
        run: String,
        /// What it said.
        index: u32,
    },
    /// The bytes are those of another volume.
    #[error("volume {index} of `{run}` is byte for byte volume {same_as}; dropped as a copy")]
    Copy {
        /// Which run.
        run: String,
        /// What it calls itself.
        index: u32,
        /// What it is.
        same_as: u32,
    },
    /// A run started while another was open.
    #[error("run `{started}` started before `{ended}` was ended; `{ended}` is ended now")]
    NoEnd {
        /// The run before.
        ended: String,
        /// The run that starts.
        started: String,
    },
}

fn open_run(open: Option<&str>) -> String {
    open.map_or_else(|| ", no run is".to_owned(), |open| format!(", `{open}` is"))
}

/// What the run does about an error. A participant is in the scanner, so the default is to
/// carry on; stopping needs a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Drop this volume or message, count it, wait for the next.
    SkipVolume,
    /// Keep showing the last feedback while the connection is retried.
    HoldFeedback,
    /// End the run and tell the operator.
    StopRun,
}

impl IngestError {
    /// What the run does about this error.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        // No `_` arm: whoever adds an error has to decide.
        match self {
            Self::Message(_) | Self::Index { .. } | Self::Copy { .. } | Self::NoEnd { .. } => {
                Disposition::SkipVolume
            }
            // The adapter sends the run again and goes on.
            Self::UnknownRun { .. } | Self::Overtaken { .. } => Disposition::HoldFeedback,
            Self::RunRefused { .. } => Disposition::StopRun,
        }
    }
}

/// The runs of a session and what came of each. See the module docs.
pub struct Ingest {
    admission: Admission,
    instance: String,
    durability: Durability,
    copies: ContentDuplicates,
    recorded: Recorded,
    runs: Vec<KnownRun>,
    /// The open run was taken up after a restart, and no adapter has announced it since.
    is_unannounced: bool,
}

struct KnownRun {
    run: Run,
    ended: Option<EndedBy>,
    seen: HashSet<TrIndex>,
    /// Checksum and bytes of the newest volumes.
    recent: VecDeque<(TrIndex, u32, Bytes)>,
}

impl KnownRun {
    fn answers_to(&self, name: &str) -> bool {
        *self.run.name == *name || self.run.header.run_id() == name
    }

    /// Whether no volume lies between this one and those that came.
    fn follows_on(&self, index: TrIndex) -> bool {
        let newest = self.seen.iter().max();
        newest.map_or(index.0 == 0, |newest| index <= newest.next())
    }

    fn next_index(&self) -> u32 {
        (0..).find(|&index| !self.seen.contains(&TrIndex(index))).unwrap_or(u32::MAX)
    }
}

impl Ingest {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(
        admission: Admission,
        instance: String,
        durability: Durability,
        copies: ContentDuplicates,
        recorded: Recorded,
    ) -> Self {
        let runs = Vec::new();
        Self { admission, instance, durability, copies, recorded, runs, is_unannounced: false }
    }

    /// The run that is open.
    #[must_use]
    pub fn open_run(&self) -> Option<&Run> {
        self.runs.last().filter(|known| known.ended.is_none()).map(|known| &known.run)
    }

    /// All that came so far was read from a recording. What an adapter sent to the process before
    /// this one may have died with it while later volumes wait in a queue, so until the run is
    /// announced again only what follows on is taken.
    pub fn take_up(&mut self) {
        self.is_unannounced = true;
    }

    /// What becomes of one message.
    pub fn handle(&mut self, message: FromAdapter) -> Verdict {
        match message {
            FromAdapter::Run { header, resume } => self.run(header, resume),
            FromAdapter::Volume(volume) => self.volume(volume),
            FromAdapter::Mark(mark) => match self.open_index(&mark.run) {
                Some(at) => Verdict {
                    events: vec![Event::Mark(self.runs[at].run.number, mark)],
                    ..Verdict::default()
                },
                None => self.unknown(&mark.run, None),
            },
            FromAdapter::End(end) => self.end(&end),
            FromAdapter::Ping => Verdict::default(),
        }
    }

    /// What a command does to the session, in order. A command that ends the run does so here.
    pub fn command(&mut self, command: Command) -> Vec<Happening> {
        let ended = match command {
            Command::EndRun | Command::Abort => self.end_open_run(EndedBy::Operator),
            Command::Stop => self.end_open_run(EndedBy::Interruption),
            _ => None,
        };
        ended.map(Happening::Event).into_iter().chain([Happening::Command(command)]).collect()
    }

    /// Ends the open run for another reason than the adapter's `end`.
    pub fn end_open_run(&mut self, by: EndedBy) -> Option<Event> {
        let known = self.runs.last_mut().filter(|known| known.ended.is_none())?;
        known.ended = Some(by);
        known.recent.clear();
        Some(Event::RunEnded { number: known.run.number, n_sent: None, by })
    }

    fn open_index(&self, name: &str) -> Option<usize> {
        let at = self.runs.len().checked_sub(1)?;
        let known = &self.runs[at];
        (known.ended.is_none() && known.answers_to(name)).then_some(at)
    }

    fn run(&mut self, header: RunHeader, resume: bool) -> Verdict {
        self.is_unannounced = false;
        let id = header.run_id();
        let same = |known: &KnownRun| {
            known.run.header.run_id() == id && known.run.header.series_id == header.series_id
        };
        let last = self.runs.iter().rev().find(|known| same(known));
        if let Some(known) = last.filter(|known| known.run.header.space == header.space) {
            match known.ended {
                // The adapter was restarted, or we were; or it ended and only our answer was
                // lost. It may send again what it is unsure of.
                None => return self.still_ready(known),
                Some(EndedBy::Adapter) if resume => return self.still_ready(known),
                Some(EndedBy::Operator) if resume => {
                    return self.refuse_run(id, "the operator ended this run".to_owned());
                }
                Some(_) => {}
            }
        }
        if self.runs.len() >= MAX_RUNS {
            return self.refuse_run(id, format!("the session already holds {MAX_RUNS} runs"));
        }
        if let Err(reason) = (self.admission)(&header) {
            return self.refuse_run(id, reason);
        }
        let mut verdict = Verdict::default();
        let repeats = self.runs.iter().filter(|k| k.run.header.run_id() == id).count();
        let name = if repeats == 0 { id.clone() } else { format!("{id}+{}", repeats + 1) };
        if let Some(ended) = self.open_run().map(|run| run.name.to_string()) {
            verdict.events.extend(self.end_open_run(EndedBy::Interruption));
            verdict.problem = Some(IngestError::NoEnd { ended, started: name.clone() });
        }
        let run =
            Run { number: RunNumber(self.runs.len()), name: name.into(), header: Arc::new(header) };
        let known = KnownRun {
            run: run.clone(),
            ended: None,
            seen: HashSet::new(),
            recent: VecDeque::new(),
        };
        verdict.replies.push(self.ready(&known));
        self.runs.push(known);
        verdict.events.push(Event::RunStarted(run));
        verdict
    }

    fn still_ready(&self, known: &KnownRun) -> Verdict {
        Verdict { replies: vec![self.ready(known)], duplicate: true, ..Verdict::default() }
    }

    fn ready(&self, known: &KnownRun) -> ToAdapter {
        ToAdapter::Ready(Ready {
            protocol: PROTOCOL,
            run: known.run.name.to_string(),
            durability: self.durability,
            next_index: known.next_index(),
            instance: self.instance.clone(),
        })
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

    fn volume(&mut self, volume: VolumeMessage) -> Verdict {
        let name = volume.header.run.clone();
        let index = volume.header.index;
        let Some(at) = self.open_index(&name) else {
            // The end was recorded, and only our acknowledgements were lost.
            let ended = self.runs.iter().rev().find(|known| known.answers_to(&name));
            return match ended {
                Some(known) if known.seen.contains(&index) => Verdict {
                    replies: vec![acknowledgement(&name, Some(index))],
                    duplicate: true,
                    ..Verdict::default()
                },
                _ => self.unknown(&name, Some(index.0)),
            };
        };
        let known = &mut self.runs[at];
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
        if known.seen.contains(&index) {
            let recorded = self.durability == Durability::None
                || self.recorded.lock().is_ok_and(|set| set.contains(&(number, index)));
            // Not recorded yet: the recorder was behind, or gave up on it. Record it now.
            return Verdict {
                replies: if recorded { vec![ToAdapter::Ack(ack.clone())] } else { Vec::new() },
                acknowledge: (!recorded).then_some((number, ack)),
                duplicate: true,
                ..Verdict::default()
            };
        }
        if self.copies == ContentDuplicates::Drop
            && let Some(same_as) = known.copy_of(&volume)
        {
            let problem = IngestError::Copy { run: name, index: index.0, same_as: same_as.0 };
            return Verdict {
                replies: vec![ToAdapter::Ack(ack)],
                problem: Some(problem),
                duplicate: true,
                ..Verdict::default()
            };
        }
        known.seen.insert(index);
        Verdict {
            events: vec![Event::Volume(number, volume)],
            acknowledge: Some((number, ack)),
            ..Verdict::default()
        }
    }

    fn end(&mut self, end: &End) -> Verdict {
        let ack = Ack { run: end.run.clone(), index: None };
        let Some(at) = self.open_index(&end.run) else {
            let known = self.runs.iter().any(|known| known.answers_to(&end.run));
            return if known {
                Verdict {
                    replies: vec![ToAdapter::Ack(ack)],
                    duplicate: true,
                    ..Verdict::default()
                }
            } else {
                self.unknown(&end.run, None)
            };
        };
        let known = &mut self.runs[at];
        known.ended = Some(EndedBy::Adapter);
        known.recent.clear();
        let number = known.run.number;
        let ended = Event::RunEnded { number, n_sent: end.n_sent, by: EndedBy::Adapter };
        Verdict { events: vec![ended], acknowledge: Some((number, ack)), ..Verdict::default() }
    }
}

impl KnownRun {
    /// The recent volume with the same bytes, if there is one; remembers this one if not.
    ///
    /// A volume without contrast (all bytes the same) is nobody's copy: scanners send blank
    /// volumes, and tests constant ones.
    fn copy_of(&mut self, volume: &VolumeMessage) -> Option<TrIndex> {
        let checksum = volume.header.crc32.unwrap_or_else(|| crc32fast::hash(&volume.voxels));
        let bytes = &volume.voxels;
        let same = |(_, sum, old): &&(TrIndex, u32, Bytes)| *sum == checksum && old == bytes;
        if let Some((index, ..)) = self.recent.iter().find(same) {
            let width = volume.header.dtype.size_bytes();
            let constant = bytes.chunks_exact(width).all(|voxel| voxel == &bytes[..width]);
            return (!constant).then_some(*index);
        }
        if self.recent.len() == COMPARED_VOLUMES {
            self.recent.pop_front();
        }
        self.recent.push_back((volume.header.index, checksum, bytes.clone()));
        None
    }
}

fn acknowledgement(run: &str, index: Option<TrIndex>) -> ToAdapter {
    ToAdapter::Ack(Ack { run: run.to_owned(), index: index.map(|index| index.0) })
}

#[cfg(test)]
mod tests {
    use corticast_bold::{run::RunEntities, space::VoxelSpace, time::RepetitionTime};
    use corticast_wire::message::{Dtype, Order, VolumeHeader};
    use proptest::prelude::*;

    use super::*;

    fn header(series: &str) -> RunHeader {
        let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
        RunHeader {
            session: String::new(),
            entities: RunEntities::checked("01", None, None, Some("1")).unwrap(),
            repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
            space: VoxelSpace::new([2, 1, 1], affine).unwrap(),
            n_volumes: None,
            source: String::new(),
            series_id: series.to_owned(),
        }
    }

    fn volume(index: u32, content: u8) -> FromAdapter {
        let header = VolumeHeader {
            run: "sub-01_run-1".to_owned(),
            index: TrIndex(index),
            acquisition_time_s: None,
            dtype: Dtype::Int16,
            shape: None,
            order: Order::C,
            crc32: None,
            slope: None,
            intercept: None,
            scanner_wall_time: None,
        };
        FromAdapter::Volume(VolumeMessage { header, voxels: Bytes::from(vec![content, 1, 2, 3]) })
    }

    fn ingest(durability: Durability) -> (Ingest, Recorded) {
        let recorded = Recorded::default();
        let admission: Admission = Arc::new(|header| match header.space.matrix() {
            [2, 1, 1] => Ok(()),
            other => Err(format!("matrix {other:?}")),
        });
        let copies = ContentDuplicates::Drop;
        (Ingest::new(admission, "i".into(), durability, copies, Arc::clone(&recorded)), recorded)
    }

    fn run(series: &str, resume: bool) -> FromAdapter {
        FromAdapter::Run { header: header(series), resume }
    }

    fn end() -> FromAdapter {
        FromAdapter::End(End { run: "sub-01_run-1".to_owned(), n_sent: None })
    }

    fn ready(verdict: &Verdict) -> &Ready {
        match verdict.replies.as_slice() {
            [ToAdapter::Ready(ready)] => ready,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_duplicate_is_acknowledged_only_once_it_is_recorded() {
        let (mut ingest, recorded) = ingest(Durability::Flush);
        ingest.handle(run("a", false));
        assert_eq!(ingest.handle(volume(0, 0)).events.len(), 1);
        let again = ingest.handle(volume(0, 0));
        assert!(again.duplicate && again.replies.is_empty() && again.acknowledge.is_some());
        recorded.lock().unwrap().insert((RunNumber(0), TrIndex(0)));
        let again = ingest.handle(volume(0, 0));
        assert!(matches!(again.replies.as_slice(), [ToAdapter::Ack(_)]));
        assert!(again.events.is_empty());
    }

    #[test]
    fn a_copy_that_lies_about_its_number_is_dropped_and_a_blank_volume_is_no_copy() {
        let (mut ingest, _) = ingest(Durability::None);
        ingest.handle(run("a", false));
        ingest.handle(volume(0, 0));
        let copy = ingest.handle(volume(7, 0));
        assert!(matches!(copy.problem, Some(IngestError::Copy { index: 7, same_as: 0, .. })));
        let blank = |index| match volume(index, 0) {
            FromAdapter::Volume(volume) => {
                FromAdapter::Volume(VolumeMessage { voxels: Bytes::from_static(&[0; 4]), ..volume })
            }
            other => other,
        };
        assert_eq!(ingest.handle(blank(1)).events.len(), 1);
        assert_eq!(ingest.handle(blank(2)).events.len(), 1);
    }

    #[test]
    fn a_run_that_goes_on_after_a_restart_is_the_same_run() {
        let (mut ingest, _) = ingest(Durability::None);
        ingest.handle(run("a", false));
        ingest.handle(volume(0, 0));
        let again = ingest.handle(run("a", true));
        assert_eq!(ready(&again).next_index, 1);
        assert!(again.events.is_empty());
        ingest.handle(end());
        let late = ingest.handle(run("a", true));
        assert!(late.events.is_empty(), "only our acknowledgement was lost");
        assert!(ingest.handle(end()).duplicate);
    }

    #[test]
    fn a_second_run_without_an_end_ends_the_first_and_a_repeat_gets_its_own_name() {
        let (mut ingest, _) = ingest(Durability::None);
        ingest.handle(run("a", false));
        let second = ingest.handle(run("b", false));
        assert_eq!(ready(&second).run, "sub-01_run-1+2");
        assert!(matches!(second.problem, Some(IngestError::NoEnd { .. })));
        let by = EndedBy::Interruption;
        assert!(matches!(second.events[0], Event::RunEnded { by: b, .. } if b == by));
    }

    #[test]
    fn what_comes_after_the_operator_ended_the_run_is_refused_for_good() {
        let (mut ingest, _) = ingest(Durability::None);
        ingest.handle(run("a", false));
        assert!(ingest.end_open_run(EndedBy::Operator).is_some());
        assert!(matches!(
            ingest.handle(volume(0, 0)).replies.as_slice(),
            [ToAdapter::Refused(Refused { code: RefusalCode::UnknownRun, .. })]
        ));
        assert!(matches!(
            ingest.handle(run("a", true)).replies.as_slice(),
            [ToAdapter::Refused(Refused { code: RefusalCode::RunRefused, .. })]
        ));
    }

    proptest! {
        /// However often volumes are sent, each is accepted once.
        #[test]
        fn each_volume_is_accepted_once(sent in proptest::collection::vec(0_u32..20, 0..80)) {
            let (mut ingest, _) = ingest(Durability::None);
            ingest.handle(run("a", false));
            let accepted: usize =
                sent.iter().map(|&i| ingest.handle(volume(i, i as u8)).events.len()).sum();
            let distinct: HashSet<u32> = sent.into_iter().collect();
            prop_assert_eq!(accepted, distinct.len());
        }
    }
}
