//! The results file: each result as a line of JSON, written from a thread of its own.

use std::thread::JoinHandle;

use bytes::Bytes;

use super::json_lines::JsonLines;
use crate::{product::Product, queue::drop_oldest::Drain};

/// Writes the `earlier` lines, then results as they come, from a thread of its own: a slow disk
/// delays neither the session nor other outputs.
///
/// # Errors
///
/// Fails when the earlier lines cannot be written, or the system gives no thread.
pub fn write(
    mut file: JsonLines,
    earlier: Vec<Bytes>,
    results: Drain<Product>,
) -> anyhow::Result<JoinHandle<()>> {
    for line in earlier {
        file.line(&line)?;
    }
    file.flush()?;
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("results".to_owned()).spawn(move || {
        let mut has_failed = false;
        while let Some(product) = runtime.block_on(results.next()) {
            let written = file.deliver(&product).and_then(|()| file.flush());
            match written {
                Ok(()) => has_failed = false,
                // Once, not for each line.
                Err(error) if !has_failed => {
                    tracing::error!("{error}; decoding and recording go on");
                    has_failed = true;
                }
                Err(_) => {}
            }
        }
    })?;
    Ok(thread)
}
