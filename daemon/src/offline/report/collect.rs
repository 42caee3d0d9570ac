//! Reads a recording once and collects the facts of its runs.
//!
//! The facts of a run end with its `ended` entry: see the module docs of [`super`].

use std::{collections::HashMap, path::Path, sync::Arc};

use corticast_wire::message::{FromAdapter, VolumeMessage};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Wanted,
    carpet::Carpet,
    cuts::{Place, faults_before, segment_number},
    entries::{FeedbackEntry, ResultEntry, StatusEntry, VolumeEntry},
    error::ReportError,
    facts::{Block, MAX_NOTES, Note, RunFacts, Score, VolumeRow},
    voxels::{MAX_VOXELS, VoxelSums, x_fastest},
};
use crate::{
    product::reports::{RunReport, RunState},
    recording::{
        format::{COMMAND, Entry, SESSION, WIRE, kind_of},
        log::Log,
        reader::Recording,
    },
    signal::happening::{Event, RunNumber},
};

/// An index that is further than this behind the others is damaged.
const MAX_GAP: u32 = 10_000;

/// A run that is being read.
struct Open {
    facts: RunFacts,
    is_wanted: bool,
    started_ns: u64,
    /// Where the run ends in the recording.
    ends_at: Option<Place>,
    discard_volumes: u64,
    sums: Option<VoxelSums>,
    carpet: Option<Carpet>,
}

/// Reads the wanted runs.
pub(super) fn collect(
    path: &Path,
    wanted: Wanted<'_>,
    progress: &mut dyn FnMut() -> bool,
) -> Result<Vec<RunFacts>, ReportError> {
    let mut collector = Collector { wanted, ..Collector::default() };
    let mut log = Log::open(path)?;
    while let Some((entry, events)) = log.next() {
        for event in events {
            match event {
                Event::RunStarted(run) => collector.run_started(&run.name, run.header, &entry),
                Event::Volume(RunNumber(number), volume) => {
                    if !progress() {
                        return Err(ReportError::GivenUp);
                    }
                    collector.volume(number, &volume);
                }
                Event::Mark(RunNumber(number), mark) => {
                    if let Some(run) = collector.open(number)
                        && run.facts.marks.len() < MAX_NOTES
                    {
                        run.facts.marks.push(mark);
                    }
                }
                Event::RunEnded { .. } => {}
            }
        }
        let place = || {
            let (file, at) = log.recording().position()?;
            Some((segment_number(file), at))
        };
        collector.entry(&entry, place);
    }
    collector.finish(path, log.recording())
}

#[derive(Default)]
struct Collector<'a> {
    wanted: Wanted<'a>,
    runs: Vec<Open>,
    by_name: HashMap<Arc<str>, usize>,
    /// The run that warnings belong to.
    current: Option<usize>,
    session: Value,
    /// Notes from before the next run.
    held: Vec<(u64, Note)>,
}

impl Collector<'_> {
    fn run_started(
        &mut self,
        name: &Arc<str>,
        header: Arc<corticast_bold::run::RunHeader>,
        entry: &Entry,
    ) {
        let number = self.runs.len();
        let discard = self.session.pointer("/effective/signal/discard_volumes");
        let mut run = Open {
            is_wanted: self.wanted.includes(name),
            started_ns: entry.wall_ns,
            ends_at: None,
            discard_volumes: discard.and_then(Value::as_u64).unwrap_or(0),
            sums: None,
            carpet: None,
            facts: RunFacts::new(Arc::clone(name), header, self.session.clone()),
        };
        for (at_ns, note) in self.held.drain(..) {
            let time_s = seconds_between(run.started_ns, at_ns);
            run.facts.note(Note { time_s, ..note });
        }
        self.by_name.insert(Arc::clone(name), number);
        self.runs.push(run);
        self.current = Some(number);
    }

    /// A wanted run that has not ended.
    fn open(&mut self, number: usize) -> Option<&mut Open> {
        self.runs.get_mut(number).filter(|run| run.is_wanted && run.ends_at.is_none())
    }

    fn named(&mut self, name: &str) -> Option<&mut Open> {
        let number = *self.by_name.get(name)?;
        self.open(number)
    }

    fn volume(&mut self, number: usize, volume: &VolumeMessage) {
        let Some(run) = self.open(number) else { return };
        let index = volume.header.index.0;
        let last = run.facts.recorded.last().copied();
        if index > last.unwrap_or(0).saturating_add(MAX_GAP) {
            run.facts.n_far += 1;
            return;
        }
        run.facts.recorded.insert(index);
        run.facts.first.get_or_insert_with(|| volume.header.clone());
        let space = &run.facts.header.space;
        if u64::from(index) < run.discard_volumes || space.n_voxel() > MAX_VOXELS {
            return;
        }
        let Ok(signal) = volume.stored(&run.facts.header).signal() else { return };
        let signal = x_fastest(signal, volume.header.order, space.matrix());
        if run.carpet.is_none() {
            run.carpet = Carpet::new(index, &signal);
        }
        if let Some(carpet) = &mut run.carpet {
            carpet.add(index, &signal);
        }
        run.sums.get_or_insert_with(|| VoxelSums::new(index, signal.clone())).add(index, &signal);
    }

    /// Takes what an entry says. `place` tells where the recording has been read to.
    fn entry(&mut self, entry: &Entry, place: impl Fn() -> Option<Place>) {
        match entry.topic.as_str() {
            SESSION => self.session(entry),
            WIRE if kind_of(&entry.data) == Some(b"end") => self.end(entry),
            COMMAND => {
                let command = read::<Value>(entry).and_then(|value| value.get("command").cloned());
                let text = command.as_ref().and_then(Value::as_str).unwrap_or("unknown");
                self.note(entry.wall_ns, "command", text);
            }
            "status" => {
                if let Some(status) = read::<StatusEntry>(entry) {
                    self.note(entry.wall_ns, &status.level, &status.message);
                }
            }
            "run" => self.run_report(entry, place),
            "volume" => self.volume_report(entry),
            "concepts" => self.result(entry),
            "feedback" => self.feedback(entry),
            "clip" => {
                // Its metadata is in the header of a file of tensors; clips are only counted.
                if let Some(number) = self.current
                    && let Some(run) = self.open(number)
                {
                    run.facts.results.n_clips += 1;
                }
            }
            _ => {}
        }
    }

    fn session(&mut self, entry: &Entry) {
        let Some(session) = read::<Value>(entry) else { return };
        let is_restart = !self.session.is_null();
        self.session = session;
        if is_restart {
            self.note(entry.wall_ns, "restart", "the daemon was started again");
        }
    }

    fn end(&mut self, entry: &Entry) {
        let end = entry.frames().and_then(|frames| FromAdapter::parse(&frames).ok());
        if let Some((FromAdapter::End(end), _)) = end
            && let Some(run) = self.named(&end.run)
        {
            run.facts.triggers = end.triggers;
        }
    }

    fn note(&mut self, at_ns: u64, kind: &str, text: &str) {
        let short = |text: &str| corticast_wire::text::shorten(text, 600).to_string();
        let note = Note { time_s: 0.0, kind: short(kind), text: short(text) };
        match self.current.and_then(|number| self.runs.get_mut(number)) {
            Some(run) if run.ends_at.is_none() => {
                let time_s = seconds_between(run.started_ns, at_ns);
                run.facts.note(Note { time_s, ..note });
            }
            _ if self.held.len() < MAX_NOTES => self.held.push((at_ns, note)),
            _ => {}
        }
    }

    fn run_report(&mut self, entry: &Entry, place: impl Fn() -> Option<Place>) {
        let Some(report) = read::<RunReport>(entry) else { return };
        let Some(run) = self.named(&report.run) else {
            let is_end = report.state == RunState::Ended;
            // A run that is not wanted ends, too.
            if let Some(number) = self.by_name.get(&report.run).copied().filter(|_| is_end) {
                self.runs[number].ends_at.get_or_insert((0, 0));
            }
            return;
        };
        let has_ended = report.state == RunState::Ended;
        run.facts.last = Some(report);
        if has_ended {
            run.facts.has_ended = true;
            run.ends_at = Some(place().unwrap_or((u32::MAX, u64::MAX)));
            run.finish();
        }
    }

    fn volume_report(&mut self, entry: &Entry) {
        let Some(report) = read::<VolumeEntry>(entry) else { return };
        let Some(run) = self.named(&report.run) else { return };
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let tr_s = run.facts.tr_s();
        run.facts.volume(VolumeRow {
            index: report.index,
            time_s: finite(report.acquisition_time_s)
                .unwrap_or_else(|| f64::from(report.index) * tr_s),
            motion: report
                .motion
                .map(|m| [m.trans_x, m.trans_y, m.trans_z, m.rot_x, m.rot_y, m.rot_z]),
            fd_mm: finite(report.fd_mm),
            dvars: finite(report.dvars),
            tsnr: finite(report.tsnr),
            is_spike: report.is_spike,
            is_time_off: report.time_off_s.is_some(),
            dropped: report.dropped.map(String::into_boxed_str),
        });
    }

    fn result(&mut self, entry: &Entry) {
        let Some(result) = read::<ResultEntry>(entry) else { return };
        let Some(run) = self.named(&result.run) else { return };
        let counts = &mut run.facts.results;
        counts.n += 1;
        counts.n_blanked += u32::from(result.blanked);
        *counts.made_from.entry(result.made_from).or_default() += 1;
        for head in result.failed_heads {
            *counts.failed_heads.entry(head).or_default() += 1;
        }
        run.facts.latency.add(result.received_ns, result.published_ns, &result.stages_ns);
    }

    fn feedback(&mut self, entry: &Entry) {
        let Some(report) = read::<FeedbackEntry>(entry) else { return };
        let Some(run) = self.named(&report.run) else { return };
        let stimulus_time_s = report.stimulus_time_s;
        let time_s = report.acquisition_time_s.unwrap_or(stimulus_time_s);
        if !time_s.is_finite() || !stimulus_time_s.is_finite() {
            return;
        }
        let feedback = &mut run.facts.feedback;
        feedback.n_blanked += u32::from(report.blanked);
        feedback.is_blind |= report.is_blind;
        let own = report.own.and_then(|own| own.score);
        let block = Block {
            kind: report.block,
            number: report.block_index,
            condition: report.condition,
            from_s: stimulus_time_s,
            to_s: stimulus_time_s,
        };
        feedback.add(
            Score { time_s, stimulus_time_s, shown: report.score, own },
            block,
            report.state,
        );
    }

    fn finish(self, path: &Path, recording: &Recording) -> Result<Vec<RunFacts>, ReportError> {
        if self.runs.is_empty() {
            return Err(ReportError::NoRun(path.to_owned()));
        }
        let names: Vec<String> = self.runs.iter().map(|run| run.facts.name.to_string()).collect();
        let mut found = Vec::new();
        for mut run in self.runs.into_iter().filter(|run| run.is_wanted) {
            if !run.facts.has_ended {
                run.finish();
            }
            (run.facts.faults, run.facts.cuts) = faults_before(recording.faults(), run.ends_at);
            run.facts.is_cut_short = !run.facts.has_ended && recording.is_cut();
            found.push(run.facts);
        }
        match (found.is_empty(), self.wanted) {
            (true, Wanted::Run(asked)) => {
                Err(ReportError::NoSuchRun { asked: asked.to_owned(), names })
            }
            _ => Ok(found),
        }
    }
}

impl Open {
    /// Completes the facts and frees the sums.
    fn finish(&mut self) {
        self.facts.finish();
        self.facts.latency.finish();
        let Some(sums) = self.sums.take() else { return };
        self.facts.maps = sums.maps();
        if let Some(mut carpet) = self.carpet.take().filter(|_| self.facts.maps.is_some()) {
            carpet.finish(&sums);
            self.facts.carpet = Some(carpet);
        }
    }
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.data).ok()
}

fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    let ns = i128::from(to_ns) - i128::from(from_ns);
    (ns as f64 / 1e6).round() / 1e3
}
