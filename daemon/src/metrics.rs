//! Every metric with its name, description and unit.
//!
//! Stages and outputs get handles, so that nothing is looked up while volumes arrive. Names follow
//! `corticast_<name>_<unit>[_total]` in base units. Latency buckets span 0.5 ms to 2 s: the TR is
//! the value that matters.

pub mod exporter;
mod register;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use self::register::{counted, describe_families, measured};
use crate::product::clips::ClipReport;

/// Names of the stages that are timed.
pub const STAGES: [&str; 13] = [
    "ingest",
    "spatial_mask",
    "gap_fill",
    "normalise",
    "hemodynamic_shift",
    "decoder",
    // Parts of the decoder, of a `neurons` model.
    "brain",
    "prior",
    "motion",
    "concepts",
    "objects",
    "reconstruction",
    "caption",
];

/// Handles of everything that is counted.
#[derive(Clone)]
pub struct Metrics {
    /// Volumes accepted.
    pub volumes_received: Counter,
    /// Volumes that never came.
    pub volumes_missing: Counter,
    /// Volumes that had come before.
    pub volumes_duplicate: Counter,
    /// Volumes that came too late to be used.
    pub volumes_late: Counter,
    /// Volumes that came and could not be used.
    pub volumes_dropped: Counter,
    /// Volumes that are in no recording although one was asked for.
    pub volumes_unrecorded: Counter,
    /// Messages refused.
    pub messages_refused: Counter,
    /// Runs started.
    pub runs: Counter,
    /// Results given out.
    pub results: Counter,
    /// Conditions replaced by newer ones before the generator took them.
    pub conditions_superseded: Counter,
    /// Clips given out.
    pub clips: Counter,
    /// Clips that failed.
    pub clips_failed: Counter,
    /// Conditions that hardly differed from those of the last clip.
    pub clips_skipped: Counter,
    /// Time a clip took.
    pub clip_duration: Histogram,
    /// Volume received to clip handed to the outputs.
    pub clip_age: Histogram,
    /// Workers that make clips.
    pub workers: Gauge,
    /// Of these, those that make one now.
    pub workers_busy: Gauge,
    /// Volume received to result handed to the outputs.
    pub feedback_latency: Histogram,
    /// Stage time over TR.
    pub load: Gauge,
    /// Bytes written to the recording.
    pub recording_bytes: Counter,
    /// Failed writes to the recording.
    pub recording_errors: Counter,
    /// Free space where the recording goes.
    pub disk_free: Gauge,
    /// Seconds since the adapter of the open run was heard; 0 without a run.
    pub adapter_silence: Gauge,
    /// 1 while a run is open.
    pub run_open: Gauge,
    /// Adapters connected.
    pub adapters: Gauge,
    stages: Vec<(&'static str, Histogram, Counter)>,
}

impl Metrics {
    /// Describes everything and takes the handles. A recorder should be installed before.
    #[must_use]
    pub fn new() -> Self {
        describe_families();
        let stages = STAGES
            .iter()
            .map(|&stage| {
                let errors = counter!("corticast_stage_errors_total", "stage" => stage);
                errors.increment(0);
                let seconds = histogram!("corticast_stage_duration_seconds", "stage" => stage);
                (stage, seconds, errors)
            })
            .collect();
        Self {
            volumes_received: counted(
                "corticast_volumes_received_total",
                Unit::Count,
                "Volumes accepted from adapters.",
            ),
            volumes_missing: counted(
                "corticast_volumes_missing_total",
                Unit::Count,
                "Volumes that never came.",
            ),
            volumes_duplicate: counted(
                "corticast_volumes_duplicate_total",
                Unit::Count,
                "Volumes that had come before, by index or by content.",
            ),
            volumes_late: counted(
                "corticast_volumes_late_total",
                Unit::Count,
                "Volumes that came after later ones had been used; recorded, not decoded.",
            ),
            volumes_dropped: counted(
                "corticast_volumes_dropped_total",
                Unit::Count,
                "Volumes that came and could not be used.",
            ),
            volumes_unrecorded: counted(
                "corticast_volumes_unrecorded_total",
                Unit::Count,
                "Volumes the recorder was too slow for or failed on; not acknowledged.",
            ),
            messages_refused: counted(
                "corticast_messages_refused_total",
                Unit::Count,
                "Messages that could not be read or did not fit.",
            ),
            runs: counted("corticast_runs_total", Unit::Count, "Runs started."),
            results: counted(
                "corticast_results_published_total",
                Unit::Count,
                "Results handed to the outputs.",
            ),
            conditions_superseded: counted(
                "corticast_conditions_superseded_total",
                Unit::Count,
                "Conditions replaced by newer ones before the generator took them.",
            ),
            clips: counted("corticast_clips_total", Unit::Count, "Clips handed to the outputs."),
            clips_failed: counted(
                "corticast_clips_failed_total",
                Unit::Count,
                "Clips that were dropped because a network or a worker failed.",
            ),
            clips_skipped: counted(
                "corticast_clips_skipped_total",
                Unit::Count,
                "Conditions too similar to those of the last clip for another one.",
            ),
            clip_duration: histogram!("corticast_clip_duration_seconds"),
            clip_age: histogram!("corticast_clip_age_seconds"),
            workers: measured(
                "corticast_workers_connected",
                Unit::Count,
                "Workers that make clips.",
            ),
            workers_busy: measured(
                "corticast_workers_busy",
                Unit::Count,
                "Workers that make a clip now.",
            ),
            feedback_latency: histogram!("corticast_feedback_latency_seconds"),
            load: measured(
                "corticast_signal_path_load_ratio",
                Unit::Count,
                "Time the signal path took for the last volume, over the TR.",
            ),
            recording_bytes: counted(
                "corticast_recording_bytes_total",
                Unit::Bytes,
                "Bytes of messages written to the recording, before compression.",
            ),
            recording_errors: counted(
                "corticast_recording_errors_total",
                Unit::Count,
                "Failed writes to the recording.",
            ),
            disk_free: measured(
                "corticast_recording_disk_free_bytes",
                Unit::Bytes,
                "Free space where the recording goes.",
            ),
            adapter_silence: measured(
                "corticast_adapter_silence_seconds",
                Unit::Seconds,
                "Time since the adapter of the open run was heard; 0 without a run.",
            ),
            run_open: measured("corticast_run_open", Unit::Count, "1 while a run is open."),
            adapters: measured(
                "corticast_adapters_connected",
                Unit::Count,
                "Adapters heard in the last three seconds.",
            ),
            stages,
        }
    }

    /// Notes how long a stage took.
    pub fn stage_took(&self, stage: &str, seconds: f64) {
        if let Some((_, histogram, _)) = self.stages.iter().find(|(name, ..)| *name == stage) {
            histogram.record(seconds);
        }
    }

    /// Notes that a stage failed.
    pub fn stage_failed(&self, stage: &str) {
        if let Some((.., errors)) = self.stages.iter().find(|(name, ..)| *name == stage) {
            errors.increment(1);
        }
    }

    /// Notes a clip that is given out.
    pub fn clip(&self, clip: &ClipReport) {
        self.clips.increment(1);
        self.clip_duration.record(clip.took_ns as f64 / 1e9);
        self.clip_age.record(clip.age_ns as f64 / 1e9);
    }

    /// Says which model runs.
    pub fn model(&self, subject: &str, model: &str, provider: &str) {
        gauge!(
            "corticast_model_info",
            "subject" => subject.to_owned(),
            "model" => model.to_owned(),
            "provider" => provider.to_owned()
        )
        .set(1.0);
    }

    /// Says how clips are made.
    pub fn generator(&self, mode: &'static str, precision: &'static str, provider: &str) {
        gauge!(
            "corticast_generator_info",
            "mode" => mode,
            "precision" => precision,
            "provider" => provider.to_owned()
        )
        .set(1.0);
    }

    /// The counter of what an output dropped.
    pub fn output_dropped(&self, output: &'static str) -> Counter {
        let dropped = counter!("corticast_output_dropped_total", "output" => output);
        dropped.increment(0);
        dropped
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
