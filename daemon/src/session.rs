//! The life of a session: runs start, volumes come, results go out.
//!
//! Pure but for the clock that stamps what goes out: the same events in the same order give
//! the same products. The live daemon, a restart after a crash and `corticast replay` all feed
//! this one type; only where the events come from differs.

use std::sync::Arc;

use corticast_bold::{time::TrIndex, volume::Window};
use corticast_models::readout::HeadFailure;
use corticast_wire::message::{MessageError, VolumeMessage};
use serde::{Deserialize, Serialize};

use crate::{
    ingest::{EndedBy, Event, Ingest, Run, RunNumber},
    metrics::Metrics,
    product::{
        Product,
        reports::{RunReport, RunState, StatusReport, VolumeReport},
        results::{ConditionsReport, DecodedResult, Probabilities},
        tensors::to_safetensors,
    },
    resequence::Resequence,
    signal_path::{SignalPath, SignalPathError, Step},
};

/// What an operator may ask of a running session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Says how it stands. Changes nothing.
    Status,
    /// Stops decoding; volumes are still taken, recorded and normalised.
    Pause,
    /// Goes on decoding.
    Resume,
    /// The participant sees neutral feedback.
    Blank,
    /// The participant sees the feedback again.
    Unblank,
    /// Ends the open run; the session goes on.
    EndRun,
    /// Ends the run and the daemon.
    Abort,
    /// The daemon was stopped by a signal. Not for operators.
    #[serde(rename = "stop")]
    Stop,
}

impl Command {
    /// What this command does to the session, in order.
    #[must_use]
    pub fn happenings(self, ingest: &mut Ingest) -> Vec<Happening> {
        let ended = match self {
            Self::EndRun | Self::Abort => ingest.end_open_run(EndedBy::Operator),
            Self::Stop => ingest.end_open_run(EndedBy::Interruption),
            _ => None,
        };
        ended.map(Happening::Event).into_iter().chain([Happening::Command(self)]).collect()
    }
}

/// One thing that happened to a session.
#[derive(Clone, Debug)]
pub enum Happening {
    /// An adapter said something that was accepted.
    Event(Event),
    /// The operator said something.
    Command(Command),
}

/// A volume that waits for its turn.
struct Arrived {
    message: VolumeMessage,
    received_ns: u64,
}

struct OpenRun {
    run: Run,
    report: RunReport,
    resequence: Resequence<Arrived>,
    /// Newest index that was used or given up.
    last: Option<TrIndex>,
}

/// Sees every window a model would be given, with the name of its run.
pub type WindowTap = Box<dyn FnMut(&str, &Window) + Send>;

/// A session. See the module docs.
pub struct Session {
    path: SignalPath,
    resequence_volumes: u32,
    run: Option<OpenRun>,
    paused: bool,
    blanked: bool,
    n_lost: u32,
    tap: Option<WindowTap>,
    metrics: Metrics,
    clock: fn() -> u64,
}

impl Session {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(
        path: SignalPath,
        resequence_volumes: u32,
        metrics: Metrics,
        clock: fn() -> u64,
    ) -> Self {
        Self {
            path,
            resequence_volumes,
            run: None,
            paused: false,
            blanked: false,
            n_lost: 0,
            tap: None,
            metrics,
            clock,
        }
    }

    /// Lets `tap` see every window, whether or not there is a model: `corticast prepare` makes
    /// training data of them.
    #[must_use]
    pub fn with_tap(mut self, tap: WindowTap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Volumes that were acquired or planned and gave the model nothing, in all ended runs.
    #[must_use]
    pub fn n_lost(&self) -> u32 {
        self.n_lost
    }

    /// Whether the operator paused decoding.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the participant sees neutral feedback.
    #[must_use]
    pub fn is_blanked(&self) -> bool {
        self.blanked
    }

    /// What is known about the open run.
    #[must_use]
    pub fn open_run(&self) -> Option<RunReport> {
        let published_ns = (self.clock)();
        self.run.as_ref().map(|open| RunReport { published_ns, ..open.report.clone() })
    }

    /// Takes what happened, received at `received_ns`; hands what comes of it to `out`.
    pub fn handle(&mut self, happening: Happening, received_ns: u64, out: &mut dyn FnMut(Product)) {
        match happening {
            Happening::Event(Event::RunStarted(run)) => self.start_run(run, out),
            Happening::Event(Event::Volume(number, message)) => {
                self.volume(number, Arrived { message, received_ns }, out);
            }
            Happening::Event(Event::Mark(..)) => {}
            Happening::Event(Event::RunEnded { number, n_sent, by }) => {
                self.end_run(number, n_sent, by, out);
            }
            Happening::Command(command) => self.command(command, out),
        }
    }

    fn start_run(&mut self, run: Run, out: &mut dyn FnMut(Product)) {
        self.path.start_run(run.header.repetition_time);
        self.metrics.runs.increment(1);
        self.metrics.run_open.set(1.0);
        let mut report = RunReport::start(Arc::clone(&run.name), &run.header);
        if self.paused {
            report.state = RunState::Paused;
        }
        self.run = Some(OpenRun {
            run,
            report,
            resequence: Resequence::new(self.resequence_volumes),
            last: None,
        });
        self.report_run(out);
    }

    fn volume(&mut self, number: RunNumber, arrived: Arrived, out: &mut dyn FnMut(Product)) {
        let Some(open) = self.run.as_mut().filter(|open| open.run.number == number) else {
            return;
        };
        open.report.n_received += 1;
        self.metrics.volumes_received.increment(1);
        let index = arrived.message.header.index;
        let late = match open.resequence.arrive(index, arrived) {
            Ok(ready) => {
                for (index, arrived) in ready {
                    self.step(index, &arrived, out);
                }
                return;
            }
            Err(late) => late,
        };
        open.report.n_late += 1;
        // It was counted as missing when later volumes were used.
        open.report.n_missing = open.report.n_missing.saturating_sub(1);
        self.metrics.volumes_late.increment(1);
        self.warn(late.to_string(), out);
    }

    fn step(&mut self, index: TrIndex, arrived: &Arrived, out: &mut dyn FnMut(Product)) {
        let Some(open) = &mut self.run else { return };
        let header = Arc::clone(&open.run.header);
        let n_missing_before = index.0 - open.last.map_or(0, |last| last.next().0);
        open.last = Some(index);
        open.report.n_missing += n_missing_before;
        self.metrics.volumes_missing.increment(u64::from(n_missing_before));

        let started_ns = (self.clock)();
        let volume = arrived.message.to_volume(&header).map_err(|e: MessageError| e.to_string());
        let ingested_ns = (self.clock)();
        self.metrics.stage_took("ingest", ingested_ns.saturating_sub(started_ns) as f64 / 1e9);
        let time_s = arrived
            .message
            .header
            .acquisition_time_s
            .unwrap_or_else(|| header.repetition_time.start_of(index));
        let step =
            volume.and_then(|v| self.path.step(v).map_err(|e: SignalPathError| e.to_string()));
        let mut report = VolumeReport {
            run: Arc::clone(&open.run.name),
            index,
            acquisition_time_s: time_s,
            stimulus_time_s: time_s - self.path.options().hrf_delay_s,
            received_ns: arrived.received_ns,
            published_ns: 0,
            dvars: None,
            n_missing_before,
            dropped: None,
        };
        match step {
            Ok(mut step) => {
                step.stages_ns.insert("ingest", ingested_ns);
                report.dvars = step.dvars;
                open.report.max_dvars = open.report.max_dvars.max(step.dvars.unwrap_or(0.0));
                if !self.paused {
                    for window in &step.windows {
                        self.decode(window, &step, arrived.received_ns, out);
                    }
                }
            }
            Err(reason) => {
                open.report.n_dropped += 1;
                self.metrics.volumes_dropped.increment(1);
                report.dropped = Some(reason.clone());
                self.warn(reason, out);
            }
        }
        let busy_s = (self.clock)().saturating_sub(started_ns) as f64 / 1e9;
        self.metrics.load.set(busy_s / header.repetition_time.as_secs());
        report.published_ns = (self.clock)();
        out(Product::Volume(report));
    }

    fn decode(
        &mut self,
        window: &Window,
        step: &Step,
        received_ns: u64,
        out: &mut dyn FnMut(Product),
    ) {
        if let (Some(tap), Some(open)) = (&mut self.tap, &self.run) {
            tap(&open.run.name, window);
        }
        let mut stages_ns = step.stages_ns.clone();
        let readouts = match self.path.decode(window, &mut stages_ns) {
            Ok(Some(readouts)) => readouts,
            Ok(None) => return,
            Err(error) => {
                let reason = format!("{}: {error}", window.tr);
                self.metrics.volumes_dropped.increment(1);
                if let Some(open) = &mut self.run {
                    open.report.n_dropped += 1;
                }
                self.warn(reason, out);
                return;
            }
        };
        for HeadFailure { head, error } in &readouts.failures {
            self.warn(format!("{}: the head `{head}` gave nothing: {error}", window.tr), out);
        }
        let Some(open) = &mut self.run else { return };
        let published_ns = (self.clock)();
        stages_ns.insert("decoder", published_ns);
        let first = open.report.n_results == 0;
        open.report.n_results += 1;
        self.metrics.results.increment(1);
        self.metrics.feedback_latency.record(published_ns.saturating_sub(received_ns) as f64 / 1e9);
        out(Product::Result(DecodedResult {
            run: Arc::clone(&open.run.name),
            index: window.tr,
            stimulus_time_s: window.stimulus_time_s,
            acquisition_time_s: window.acquisition_time_s,
            received_ns,
            stages_ns,
            published_ns,
            concepts: readouts.concepts.map_or_else(Probabilities::none, Probabilities::from),
            caption: readouts.caption,
            failed_heads: readouts.failures.iter().map(|failure| failure.head.name()).collect(),
            made_from: window.made_from,
            shift: window.interpolation,
            dvars: step.dvars,
            blanked: self.blanked,
        }));
        if let Some(conditions) = &readouts.conditions {
            let (run, stimulus_time_s) = (Arc::clone(&open.run.name), window.stimulus_time_s);
            let tensors = to_safetensors(conditions, &run, window.tr.0, stimulus_time_s);
            out(Product::Conditions(ConditionsReport {
                run,
                index: window.tr,
                stimulus_time_s,
                received_ns,
                published_ns: (self.clock)(),
                blanked: self.blanked,
                tensors,
            }));
        }
        if first {
            open.report.state = RunState::Feedback;
            self.report_run(out);
        }
    }

    fn end_run(
        &mut self,
        number: RunNumber,
        n_sent: Option<u32>,
        by: EndedBy,
        out: &mut dyn FnMut(Product),
    ) {
        let Some(open) = self.run.as_mut().filter(|open| open.run.number == number) else {
            return;
        };
        for (index, arrived) in open.resequence.finish() {
            self.step(index, &arrived, out);
        }
        let Some(open) = &mut self.run else { return };
        let report = &mut open.report;
        // Volumes that are missing at the end leave no gap; the counts show them.
        let reached = open.last.map_or(0, |last| last.next().0);
        let planned = open.run.header.n_volumes.filter(|_| by == EndedBy::Adapter).unwrap_or(0);
        let unreached = planned.max(n_sent.unwrap_or(0)).saturating_sub(reached);
        report.n_missing += unreached;
        self.metrics.volumes_missing.increment(u64::from(unreached));
        report.state = RunState::Ended;
        self.n_lost += report.n_lost();
        self.report_run(out);
        self.metrics.run_open.set(0.0);
        self.run = None;
    }

    fn command(&mut self, command: Command, out: &mut dyn FnMut(Product)) {
        match command {
            Command::Pause => self.paused = true,
            Command::Resume => self.paused = false,
            Command::Blank => self.blanked = true,
            Command::Unblank => self.blanked = false,
            // The end of the run comes as an event of its own.
            Command::EndRun | Command::Abort | Command::Status | Command::Stop => {}
        }
        if let Some(open) = &mut self.run {
            open.report.state = match (self.paused, open.report.n_results) {
                (true, _) => RunState::Paused,
                (false, 0) => RunState::WarmingUp,
                (false, _) => RunState::Feedback,
            };
            self.report_run(out);
        }
    }

    fn report_run(&self, out: &mut dyn FnMut(Product)) {
        if let Some(report) = self.open_run() {
            out(Product::Run(report));
        }
    }

    fn warn(&self, message: String, out: &mut dyn FnMut(Product)) {
        let published_ns = (self.clock)();
        out(Product::Status(StatusReport { level: "warning", message, published_ns }));
    }
}
