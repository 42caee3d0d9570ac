//! Timing of the stages of the signal path and of the parts of a model.

use std::collections::BTreeMap;

use corticast_models::readout::Watch;

use crate::metrics::Metrics;

/// Times the stages of one step.
pub(super) struct Stopwatch<'a> {
    metrics: &'a Metrics,
    clock: fn() -> u64,
    last_ns: u64,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(metrics: &'a Metrics, clock: fn() -> u64) -> Self {
        Self { metrics, clock, last_ns: clock() }
    }

    /// Does the work of a stage. Records its duration and failure as metrics, and the time at which
    /// it was done in `stages_ns`.
    pub(super) fn time<T, E>(
        &mut self,
        stage: &'static str,
        stages_ns: &mut BTreeMap<&'static str, u64>,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let done = work();
        let now_ns = (self.clock)();
        self.metrics.stage_took(stage, now_ns.saturating_sub(self.last_ns) as f64 / 1e9);
        self.last_ns = now_ns;
        stages_ns.insert(stage, now_ns);
        done.inspect_err(|_| self.metrics.stage_failed(stage))
    }
}

/// Times the parts of a model, each when the model reports it as done.
pub(super) struct PartTimes<'a> {
    metrics: &'a Metrics,
    clock: fn() -> u64,
    last_ns: u64,
    stages_ns: &'a mut BTreeMap<&'static str, u64>,
}

impl<'a> PartTimes<'a> {
    /// Starts at `started_ns`; `stages_ns` gets the time at which each part was done.
    pub(super) fn start(
        metrics: &'a Metrics,
        clock: fn() -> u64,
        started_ns: u64,
        stages_ns: &'a mut BTreeMap<&'static str, u64>,
    ) -> Self {
        Self { metrics, clock, last_ns: started_ns, stages_ns }
    }
}

impl Watch for PartTimes<'_> {
    fn done(&mut self, part: &'static str) {
        // A model with a single part: its total time is recorded elsewhere.
        if part == "decoder" {
            return;
        }
        let now_ns = (self.clock)();
        self.metrics.stage_took(part, now_ns.saturating_sub(self.last_ns) as f64 / 1e9);
        self.last_ns = now_ns;
        self.stages_ns.insert(part, now_ns);
    }
}
