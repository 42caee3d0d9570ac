//! The Prometheus exporter, and the buckets of its histograms.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS_S: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0];

/// Upper bounds of the stage buckets, in seconds: a stage takes microseconds.
const STAGE_BUCKETS_S: [f64; 13] =
    [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.02, 0.1, 0.5, 2.0];

/// Upper bounds of the clip buckets, in seconds: from blurry frames to a slow GPU.
const CLIP_BUCKETS_S: [f64; 11] = [0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 4.0, 10.0, 60.0];

/// Installs the Prometheus exporter for this process. Call it inside a tokio runtime, whose task
/// keeps the histograms from growing, and before [`Metrics::new`](super::Metrics::new).
///
/// # Errors
///
/// Fails when an exporter is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("corticast_feedback_latency_seconds".to_owned()),
            &LATENCY_BUCKETS_S,
        )?
        .set_buckets_for_metric(
            Matcher::Full("corticast_stage_duration_seconds".to_owned()),
            &STAGE_BUCKETS_S,
        )?
        .set_buckets_for_metric(
            Matcher::Full("corticast_clip_duration_seconds".to_owned()),
            &CLIP_BUCKETS_S,
        )?
        .set_buckets_for_metric(
            Matcher::Full("corticast_clip_age_seconds".to_owned()),
            &CLIP_BUCKETS_S,
        )?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(BuildError::FailedToSetGlobalRecorder)?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
