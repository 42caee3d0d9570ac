//! Describes metrics to the exporter and takes their handles.

use metrics::{
    Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
};

/// Registers a counter. It is exported from the first scrape on, as 0.
pub(super) fn counted(name: &'static str, unit: Unit, text: &'static str) -> Counter {
    describe_counter!(name, unit, text);
    let handle = counter!(name);
    handle.increment(0);
    handle
}

/// Registers a gauge.
pub(super) fn measured(name: &'static str, unit: Unit, text: &'static str) -> Gauge {
    describe_gauge!(name, unit, text);
    gauge!(name)
}

/// Describes the metrics that have labels or buckets.
pub(super) fn describe_families() {
    describe_histogram!(
        "corticast_feedback_latency_seconds",
        Unit::Seconds,
        "Time from a volume's arrival to its result at the outputs."
    );
    describe_histogram!(
        "corticast_stage_duration_seconds",
        Unit::Seconds,
        "Time of one stage of the signal path for one volume."
    );
    describe_histogram!("corticast_clip_duration_seconds", Unit::Seconds, "Time to make a clip.");
    describe_histogram!(
        "corticast_clip_age_seconds",
        Unit::Seconds,
        "Time from a volume's arrival to its clip at the outputs."
    );
    describe_counter!(
        "corticast_stage_errors_total",
        Unit::Count,
        "Volumes or windows that a stage could not process."
    );
    describe_counter!(
        "corticast_output_dropped_total",
        Unit::Count,
        "Oldest products that an output dropped because it was too slow."
    );
    describe_gauge!(
        "corticast_sink_working",
        Unit::Count,
        "1 while the last value reached the sink, else 0."
    );
    describe_gauge!(
        "corticast_model_info",
        Unit::Count,
        "Always 1; its labels give the model, its subject, and its device."
    );
    describe_gauge!(
        "corticast_generator_info",
        Unit::Count,
        "Always 1; its labels give the mode of the generator, its precision, and its device."
    );
}
