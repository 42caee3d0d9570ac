//! `/metrics`, `/healthz` and `/readyz` on one port.
//!
//! A handler only reads. One that panics costs its request, which gets the status 500, and nothing
//! else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::failpoint;

/// Serves until the task is aborted.
pub async fn serve(listener: TcpListener, metrics: PrometheusHandle, is_ready: Arc<AtomicBool>) {
    let app = Router::new()
        .route(
            "/metrics",
            get(move || {
                let text = catch_unwind(AssertUnwindSafe(|| {
                    failpoint::point("http");
                    metrics.render()
                }));
                async {
                    let plain = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
                    match text {
                        Ok(text) => (StatusCode::OK, plain, text),
                        Err(_) => {
                            let why = "metrics could not be written; the log says why\n".to_owned();
                            (StatusCode::INTERNAL_SERVER_ERROR, plain, why)
                        }
                    }
                }
            }),
        )
        .route("/healthz", get(|| async { "alive\n" }))
        .route(
            "/readyz",
            get(move || {
                let is_ready = is_ready.load(Ordering::Acquire);
                async move {
                    if is_ready {
                        (StatusCode::OK, "ready\n")
                    } else {
                        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
                    }
                }
            }),
        );
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}
