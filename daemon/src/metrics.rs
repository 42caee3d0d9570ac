//! Every metric with its name, description and unit.
//!
//! Stages and outputs keep handles, so that no name is looked up while volumes arrive. Names follow
//! `corticast_<name>_<unit>[_total]` in base units. Latency buckets span 0.5 ms to 2 s: the TR is
//! the value that matters.

pub mod exporter;
mod register;

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use self::register::{counted, describe_families, measured};
use crate::product::clips::ClipReport;

/// Names of the stages that are timed.
pub const STAGES: [&str; 17] = [
    "ingest",
    "slice_timing",
    "realign",
    "smooth",
    "spatial_mask",
    "denoise",
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

/// Handles of all metrics.
#[derive(Clone)]
pub struct Metrics {
    /// Volumes accepted.
    pub volumes_received: Counter,
    /// Volumes that never arrived.
    pub volumes_missing: Counter,
    /// Volumes that arrived before.
    pub volumes_duplicate: Counter,
    /// Volumes that arrived too late to be used.
    pub volumes_late: Counter,
    /// Volumes that arrived but could not be used.
    pub volumes_dropped: Counter,
    /// Volumes that the configured recording lacks.
    pub volumes_unrecorded: Counter,
    /// Messages for which there was no room while the signal thread was behind.
    pub volumes_deferred: Counter,
    /// Messages that wait for the signal thread.
    pub messages_waiting: Gauge,
    /// Messages refused.
    pub messages_refused: Counter,
    /// Warnings that were not passed on because many of their kind had been.
    pub warnings_left_out: Counter,
    /// Runs started.
    pub runs: Counter,
    /// Results handed to the outputs.
    pub results: Counter,
    /// Conditions replaced by newer ones before the generator took them.
    pub conditions_superseded: Counter,
    /// Clips handed to the outputs.
    pub clips: Counter,
    /// Clips that failed.
    pub clips_failed: Counter,
    /// Conditions without a clip, because they hardly differed from those of the last clip.
    pub clips_skipped: Counter,
    /// Time to make a clip.
    pub clip_duration: Histogram,
    /// Time from receiving a volume to handing its clip to the outputs.
    pub clip_age: Histogram,
    /// Connected workers.
    pub workers: Gauge,
    /// Connected workers that are making a clip.
    pub workers_busy: Gauge,
    /// Time from receiving a volume to handing its result to the outputs.
    pub feedback_latency: Histogram,
    /// Stage time over TR.
    pub load: Gauge,
    /// DVARS of the last volume.
    pub dvars: Gauge,
    /// Framewise displacement of the last volume, in mm.
    pub framewise_displacement: Gauge,
    /// Median tSNR over the mask.
    pub tsnr: Gauge,
    /// Volumes whose FD or DVARS is above its threshold.
    pub spikes: Counter,
    /// Bytes written to the recording.
    pub recording_bytes: Counter,
    /// Failed writes to the recording.
    pub recording_errors: Counter,
    /// Free space on the disk of the recording.
    pub disk_free: Gauge,
    /// Seconds since the last message from the adapter of the open run; 0 without a run.
    pub adapter_silence: Gauge,
    /// 1 while a run is open.
    pub run_open: Gauge,
    /// Connected adapters.
    pub adapters: Gauge,
    stages: Vec<(&'static str, Histogram, Counter)>,
}

impl Metrics {
    /// Describes all metrics and takes their handles. Install the exporter first.
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
                "Volumes that never arrived.",
            ),
            volumes_duplicate: counted(
                "corticast_volumes_duplicate_total",
                Unit::Count,
                "Volumes that arrived before, by index or by content.",
            ),
            volumes_late: counted(
                "corticast_volumes_late_total",
                Unit::Count,
                "Volumes that arrived after later ones were used; recorded, not decoded.",
            ),
            volumes_dropped: counted(
                "corticast_volumes_dropped_total",
                Unit::Count,
                "Volumes that arrived but could not be used.",
            ),
            volumes_unrecorded: counted(
                "corticast_volumes_unrecorded_total",
                Unit::Count,
                "Volumes that the recorder could not write in time or at all; not acknowledged.",
            ),
            volumes_deferred: counted(
                "corticast_volumes_deferred_total",
                Unit::Count,
                "Messages dropped because the signal path was too far behind; sent again.",
            ),
            messages_refused: counted(
                "corticast_messages_refused_total",
                Unit::Count,
                "Messages that could not be read or did not match the run.",
            ),
            warnings_left_out: counted(
                "corticast_warnings_left_out_total",
                Unit::Count,
                "Repeated warnings that were counted but not published, logged or recorded.",
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
                "Conditions too similar to those of the last clip to make another one.",
            ),
            clip_duration: histogram!("corticast_clip_duration_seconds"),
            clip_age: histogram!("corticast_clip_age_seconds"),
            workers: measured(
                "corticast_workers_connected",
                Unit::Count,
                "Connected workers that make clips.",
            ),
            workers_busy: measured(
                "corticast_workers_busy",
                Unit::Count,
                "Workers that are making a clip.",
            ),
            feedback_latency: histogram!("corticast_feedback_latency_seconds"),
            load: measured(
                "corticast_signal_path_load_ratio",
                Unit::Count,
                "Time of the signal path for the last volume, divided by the TR.",
            ),
            dvars: measured(
                "corticast_dvars_permille",
                Unit::Count,
                "DVARS of the last volume, in tenths of a percent of the signal.",
            ),
            framewise_displacement: measured(
                "corticast_framewise_displacement_mm",
                Unit::Count,
                "Framewise displacement of the last volume; 0 without realignment.",
            ),
            tsnr: measured(
                "corticast_tsnr_ratio",
                Unit::Count,
                "Median over the mask of the temporal signal-to-noise ratio of the open run.",
            ),
            spikes: counted(
                "corticast_spikes_total",
                Unit::Count,
                "Volumes whose FD or DVARS is above its threshold, or that were not found in the \
                 reference.",
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
                "Free space on the disk of the recording.",
            ),
            messages_waiting: measured(
                "corticast_messages_waiting",
                Unit::Count,
                "Messages that wait for the signal path.",
            ),
            adapter_silence: measured(
                "corticast_adapter_silence_seconds",
                Unit::Seconds,
                "Time since the last message from the adapter of the open run; 0 without a run.",
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

    /// Records the duration of a stage.
    pub fn stage_took(&self, stage: &str, seconds: f64) {
        if let Some((_, histogram, _)) = self.stages.iter().find(|(name, ..)| *name == stage) {
            histogram.record(seconds);
        }
    }

    /// Counts a failure of a stage.
    pub fn stage_failed(&self, stage: &str) {
        if let Some((.., errors)) = self.stages.iter().find(|(name, ..)| *name == stage) {
            errors.increment(1);
        }
    }

    /// Records a clip that is handed to the outputs.
    pub fn clip(&self, clip: &ClipReport) {
        self.clips.increment(1);
        self.clip_duration.record(clip.took_ns as f64 / 1e9);
        self.clip_age.record(clip.age_ns as f64 / 1e9);
    }

    /// Sets the labels of the model.
    pub fn model(&self, subject: &str, model: &str, provider: &str) {
        model_info(subject, model, provider).set(1.0);
    }

    /// Sets the labels of the model after it has left a provider for another, or for `none`.
    pub fn model_moved(&self, subject: &str, model: &str, from: &str, to: &str) {
        model_info(subject, model, from).set(0.0);
        model_info(subject, model, to).set(1.0);
    }

    /// Sets the labels of the generator.
    pub fn generator(&self, mode: &'static str, precision: &'static str, provider: &str) {
        gauge!(
            "corticast_generator_info",
            "mode" => mode,
            "precision" => precision,
            "provider" => provider.to_owned()
        )
        .set(1.0);
    }

    /// The counter of products that an output dropped.
    pub fn output_dropped(&self, output: &'static str) -> Counter {
        let dropped = counter!("corticast_output_dropped_total", "output" => output);
        dropped.increment(0);
        dropped
    }

    /// Whether the last value reached a sink, as 0 or 1.
    pub fn sink_working(&self, sink: &'static str) -> Gauge {
        gauge!("corticast_sink_working", "output" => sink)
    }
}

fn model_info(subject: &str, model: &str, provider: &str) -> Gauge {
    gauge!(
        "corticast_model_info",
        "subject" => subject.to_owned(),
        "model" => model.to_owned(),
        "provider" => provider.to_owned()
    )
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
