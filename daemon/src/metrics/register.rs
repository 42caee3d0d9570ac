//! Describes metrics to the exporter and takes their handles.

use metrics::{
    Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
};

/// A counter. It is exported from the first scrape on.
pub(super) fn counted(name: &'static str, unit: Unit, text: &'static str) -> Counter {
    describe_counter!(name, unit, text);
    let handle = counter!(name);
    handle.increment(0);
    handle
}

/// A gauge.
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
        "Time one stage of the signal path took for one volume."
    );
    describe_histogram!(
        "corticast_clip_duration_seconds",
        Unit::Seconds,
        "Time a clip took to make."
    );
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
        "Products an output was too slow for; its oldest are dropped."
    );
    describe_gauge!(
        "corticast_model_info",
        Unit::Count,
        "Always 1; its labels say which model runs, for whom, and on what."
    );
    describe_gauge!(
        "corticast_generator_info",
        Unit::Count,
        "Always 1; its labels say how clips are made, and on what."
    );
}
