//! The thread that writes the results file, one line of JSON for each result.

use std::thread::JoinHandle;

use super::json_lines::JsonLines;
use crate::{failpoint, product::Product, queue::drop_oldest::Drain, supervise::Guard};

/// Starts a thread that writes results as they arrive. A slow disk delays neither the session nor
/// other outputs. Needs a tokio runtime.
///
/// # Errors
///
/// Fails when the thread cannot be started.
pub fn write(
    mut file: JsonLines,
    results: Drain<Product>,
    guard: Guard,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("results".to_owned()).spawn(move || {
        let _guard = guard;
        let mut has_failed = false;
        while let Some(product) = runtime.block_on(results.next()) {
            failpoint::point("results");
            let written = file.deliver(&product).and_then(|()| file.flush());
            match written {
                Ok(()) => has_failed = false,
                // Report the first of several failures in a row.
                Err(error) if !has_failed => {
                    tracing::error!("{error}; decoding and recording continue");
                    has_failed = true;
                }
                Err(_) => {}
            }
        }
    })?;
    Ok(thread)
}
