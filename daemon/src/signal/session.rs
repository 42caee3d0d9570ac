//! The life of a session: runs start, volumes arrive, results go out.
//!
//! Pure except for the clock that stamps products: the same events in the same order give the same
//! products. The live daemon, a restart after a crash and `corticast replay` all feed this one
//! type; only the source of the events differs.

mod feedback;
mod restart;

use std::{collections::HashSet, sync::Arc};

use corticast_bold::{time::TrIndex, volume::Window};
use corticast_models::readout::HeadFailure;
use corticast_wire::message::VolumeMessage;

use super::{
    happening::{Command, EndedBy, Event, Happening, Run, RunNumber},
    open_run::OpenRun,
    path::{SignalPath, SignalPathError, Step},
    plausible::time_off_s,
    quality::Told,
    reports::{self, Stamps},
    resequence::Resequence,
};
use crate::{
    metrics::Metrics,
    product::{
        Product,
        reports::{MotionReport, RunReport, RunState, StatusReport, VolumeReport},
        results::ResultKey,
    },
};

/// A volume that waits for its turn.
struct Arrived {
    message: VolumeMessage,
    /// How far its acquisition time was from `index · TR`, if it did not fit and was left out.
    time_off_s: Option<f64>,
    received_ns: u64,
}

/// Called with every window that a model would decode, and the name of its run.
pub type WindowTap = Box<dyn FnMut(&str, &Window) + Send>;

/// A session. See the module docs.
pub struct Session {
    path: SignalPath,
    resequence_volumes: u32,
    run: Option<OpenRun>,
    /// Volumes of the open run that wait for an earlier one.
    resequence: Resequence<Arrived>,
    paused: bool,
    blanked: bool,
    n_lost: u32,
    /// Results that were published before a restart and whose windows have not come again yet.
    published: HashSet<ResultKey>,
    /// Every window was decoded before: one that has no published result had failed.
    is_restoring: bool,
    tap: Option<WindowTap>,
    metrics: Metrics,
    clock: fn() -> u64,
}

impl Session {
    /// A session without runs.
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
            resequence: Resequence::new(resequence_volumes),
            paused: false,
            blanked: false,
            n_lost: 0,
            published: HashSet::new(),
            is_restoring: false,
            tap: None,
            metrics,
            clock,
        }
    }

    /// Calls `tap` with every window, with or without a model. `corticast prepare` uses it to make
    /// training data.
    #[must_use]
    pub fn with_tap(mut self, tap: WindowTap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Volumes that were acquired or planned but could not be used, so far.
    #[must_use]
    pub fn n_lost(&self) -> u32 {
        let open = self.run.as_ref().map_or(0, |open| open.report.n_lost());
        self.n_lost.saturating_add(open)
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

    /// A report on the open run.
    #[must_use]
    pub fn open_run(&self) -> Option<RunReport> {
        let published_ns = (self.clock)();
        self.run.as_ref().map(|open| RunReport { published_ns, ..open.report.clone() })
    }

    /// Processes a happening that was received at `received_ns`; hands its products to `out`.
    pub fn handle(&mut self, happening: Happening, received_ns: u64, out: &mut dyn FnMut(Product)) {
        match happening {
            Happening::Event(Event::RunStarted(run)) => self.start_run(run, out),
            Happening::Event(Event::Volume(number, message)) => {
                self.volume(number, Arrived { message, received_ns, time_off_s: None }, out);
            }
            Happening::Event(Event::Mark(..)) => {}
            Happening::Event(Event::RunEnded { number, n_sent, by }) => {
                self.end_run(number, n_sent, by, out);
            }
            Happening::Command(command) => self.command(command, out),
        }
    }

    fn start_run(&mut self, run: Run, out: &mut dyn FnMut(Product)) {
        if let Err(reason) = self.path.start_run(&run.header) {
            let published_ns = (self.clock)();
            let message = reason;
            out(Product::Status(StatusReport { level: "alarm", message, published_ns }));
        }
        self.metrics.runs.increment(1);
        self.metrics.run_open.set(1.0);
        self.resequence = Resequence::new(self.resequence_volumes);
        self.run = Some(OpenRun::start(run, self.paused));
        self.report_run(out);
    }

    fn volume(&mut self, number: RunNumber, mut arrived: Arrived, out: &mut dyn FnMut(Product)) {
        let Some(open) = self.run.as_mut().filter(|open| open.number() == number) else {
            return;
        };
        open.report.n_received += 1;
        self.metrics.volumes_received.increment(1);
        let index = arrived.message.header.index;
        let time_s = arrived.message.header.acquisition_time_s;
        arrived.time_off_s = time_s
            .and_then(|time_s| time_off_s(open.header().repetition_time.as_secs(), index, time_s));
        let is_first_off = arrived.time_off_s.is_some() && open.report.n_time_off == 0;
        if arrived.time_off_s.is_some() {
            open.report.n_time_off = open.report.n_time_off.saturating_add(1);
            arrived.message.header.acquisition_time_s = None;
        }
        if let (true, Some(off_s)) = (is_first_off, arrived.time_off_s) {
            let message = format!(
                "{index}: its acquisition time is {off_s:.3e} s away from index x TR, so index x \
                 TR is used; check that the adapter sends seconds since volume 0; further volumes \
                 only count in n_time_off"
            );
            let published_ns = (self.clock)();
            out(Product::Status(StatusReport { level: "warning", message, published_ns }));
        }
        match self.resequence.arrive(index, arrived) {
            Ok(ready) => {
                for (index, arrived) in ready {
                    self.step(index, &arrived, out);
                }
            }
            Err(late) => {
                open.late();
                self.metrics.volumes_late.increment(1);
                self.warn(late.to_string(), out);
            }
        }
    }

    /// Passes one volume through the signal path, and decodes each window that it completes.
    fn step(&mut self, index: TrIndex, arrived: &Arrived, out: &mut dyn FnMut(Product)) {
        let Some(open) = &mut self.run else { return };
        let header = Arc::clone(open.header());
        let n_missing_before = open.advance(index);
        self.metrics.volumes_missing.increment(u64::from(n_missing_before));

        let started_ns = (self.clock)();
        let waited_ns = started_ns.saturating_sub(arrived.received_ns);
        self.metrics.stage_took("ingest", waited_ns as f64 / 1e9);
        let stored = arrived.message.stored(&header);
        let time_s = stored.acquisition_time_s;
        let step = self.path.step(stored).map_err(|e: SignalPathError| e.to_string());
        let mut report = VolumeReport {
            run: Arc::clone(open.name()),
            index,
            acquisition_time_s: time_s,
            time_off_s: arrived.time_off_s,
            stimulus_time_s: time_s - self.path.options().hrf_delay_s,
            received_ns: arrived.received_ns,
            published_ns: 0,
            dvars: None,
            motion: None,
            fd_mm: None,
            tsnr: None,
            is_spike: false,
            n_missing_before,
            dropped: None,
        };
        match step {
            Ok(mut step) => {
                step.stages_ns.insert("ingest", started_ns);
                (report.dvars, report.fd_mm) = (step.dvars, step.fd_mm);
                report.motion = step.motion.map(MotionReport::from);
                report.is_spike = step.is_spike;
                open.note(&step);
                for Told { level, message } in std::mem::take(&mut step.told) {
                    let published_ns = (self.clock)();
                    out(Product::Status(StatusReport { level, message, published_ns }));
                }
                self.metrics.dvars.set(step.dvars.unwrap_or(0.0));
                self.metrics.framewise_displacement.set(step.fd_mm.unwrap_or(0.0));
                self.metrics.spikes.increment(u64::from(step.is_spike));
                if !self.paused {
                    self.score_volume(index, time_s, &step, arrived.received_ns, out);
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
                if !self.paused && index.0 >= self.path.options().discard_volumes {
                    self.score_lost(index, time_s, arrived.received_ns, out);
                }
            }
        }
        report.tsnr = self.path.measure_later();
        if let Some(tsnr) = report.tsnr {
            self.metrics.tsnr.set(tsnr);
        }
        let busy_s = (self.clock)().saturating_sub(started_ns) as f64 / 1e9;
        self.metrics.load.set(busy_s / header.repetition_time.as_secs());
        report.published_ns = (self.clock)();
        out(Product::Volume(report));
    }

    /// Decodes a window with the model and hands its result to `out`, with the conditions for a
    /// generator if the model gives them.
    fn decode(
        &mut self,
        window: &Window,
        step: &Step,
        received_ns: u64,
        out: &mut dyn FnMut(Product),
    ) {
        if let (Some(tap), Some(open)) = (&mut self.tap, &self.run) {
            tap(open.name(), window);
        }
        let run = self.run.as_ref().map(|open| Arc::clone(open.name())).unwrap_or_default();
        if self.is_known(window) {
            if let Some(feedback) = &mut self.path.feedback {
                feedback.again(&run, window, step);
            }
            return self.path.remember(window);
        }
        let mut stages_ns = step.stages_ns.clone();
        let decoded = self.path.decode(window, &mut stages_ns);
        if let Some(message) = self.path.take_alarm() {
            let published_ns = (self.clock)();
            out(Product::Status(StatusReport { level: "alarm", message, published_ns }));
        }
        let mut readouts = match decoded {
            Ok(Some(readouts)) => readouts,
            Ok(None) => return,
            Err(error) => {
                let reason = format!("{}: {error}", window.tr);
                self.metrics.volumes_dropped.increment(1);
                if let Some(open) = &mut self.run {
                    open.report.n_dropped += 1;
                }
                // An alarm said it once, for all windows.
                if !error.is_known() {
                    self.warn(reason, out);
                }
                self.score_window(&run, window, None, step, received_ns, out);
                return;
            }
        };
        for HeadFailure { head, error } in &readouts.failures {
            self.warn(format!("{}: the head `{head}` failed: {error}", window.tr), out);
        }
        self.score_window(&run, window, Some(&readouts), step, received_ns, out);
        let Some(open) = &mut self.run else { return };
        let published_ns = (self.clock)();
        stages_ns.insert("decoder", published_ns);
        let is_first = open.report.n_results == 0;
        open.report.n_results += 1;
        self.metrics.results.increment(1);
        self.metrics.feedback_latency.record(published_ns.saturating_sub(received_ns) as f64 / 1e9);
        let conditions = readouts.conditions.take();
        let stamps = Stamps { received_ns, stages_ns, published_ns };
        out(Product::Result(reports::result(&run, window, step, readouts, stamps, self.blanked)));
        if let Some(conditions) = conditions {
            let (clock, blanked) = (self.clock, self.blanked);
            let report = reports::conditions(run, window, &conditions, received_ns, clock, blanked);
            out(Product::Conditions(report));
        }
        if is_first {
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
        if self.run.as_ref().is_none_or(|open| open.number() != number) {
            return;
        }
        for (index, arrived) in self.resequence.finish() {
            self.step(index, &arrived, out);
        }
        let Some(open) = &mut self.run else { return };
        let n_unreached = open.end(n_sent, by);
        self.n_lost = self.n_lost.saturating_add(open.report.n_lost());
        self.metrics.volumes_missing.increment(u64::from(n_unreached));
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
            // The end of the run comes as a separate event.
            Command::EndRun | Command::Abort | Command::Status | Command::Stop => {}
        }
        if let Some(open) = &mut self.run {
            open.set_paused(self.paused);
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
