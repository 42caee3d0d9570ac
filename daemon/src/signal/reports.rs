//! Builds the reports about a window: its result, and the conditions for a generator.

use std::{collections::BTreeMap, sync::Arc};

use corticast_bold::volume::Window;
use corticast_models::{conditions::Conditions, readout::Readouts};

use super::path::Step;
use crate::product::{
    results::{ConditionsReport, DecodedResult, Probabilities},
    tensors::to_safetensors,
};

/// Times in the life of a window, nanoseconds of the monotonic clock.
pub(super) struct Stamps {
    /// When its newest volume was received.
    pub(super) received_ns: u64,
    /// When each stage was done.
    pub(super) stages_ns: BTreeMap<&'static str, u64>,
    /// When the result was handed to the outputs.
    pub(super) published_ns: u64,
}

/// The result of a window, from the model's readouts.
pub(super) fn result(
    run: &Arc<str>,
    window: &Window,
    step: &Step,
    readouts: Readouts,
    stamps: Stamps,
    blanked: bool,
) -> DecodedResult {
    DecodedResult {
        run: Arc::clone(run),
        index: window.tr,
        stimulus_time_s: window.stimulus_time_s,
        acquisition_time_s: window.acquisition_time_s,
        received_ns: stamps.received_ns,
        stages_ns: stamps.stages_ns,
        published_ns: stamps.published_ns,
        concepts: readouts.concepts.map_or_else(Probabilities::none, Probabilities::from),
        caption: readouts.caption,
        failed_heads: readouts.failures.iter().map(|failure| failure.head.name()).collect(),
        made_from: window.made_from,
        shift: window.interpolation,
        dvars: step.dvars,
        fd_mm: step.fd_mm,
        is_spike: step.is_spike,
        blanked,
    }
}

/// The conditions of a window, as bytes. `clock` stamps the time at which they are ready.
pub(super) fn conditions(
    run: Arc<str>,
    window: &Window,
    conditions: &Conditions,
    received_ns: u64,
    clock: fn() -> u64,
    blanked: bool,
) -> ConditionsReport {
    let stimulus_time_s = window.stimulus_time_s;
    let tensors = to_safetensors(conditions, &run, window.tr.0, stimulus_time_s);
    let published_ns = clock();
    ConditionsReport {
        run,
        index: window.tr,
        stimulus_time_s,
        received_ns,
        published_ns,
        blanked,
        tensors,
    }
}
