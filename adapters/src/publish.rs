//! Sends volumes: out of an adapter, onto the wire, until all are acknowledged.
//!
//! The adapter runs in a thread of its own (`reader`). The `outbox` decides which message is sent
//! next, and when; the `pump` connects the outbox to the socket and the clock.
//!
//! While the daemon does not answer, volumes from a scanner wait in memory, then on disk. Volumes
//! from a file wait in the file.

mod alarm;
mod link;
mod marks;
mod options;
mod outbox;
mod overflow;
pub mod pace;
mod patience;
mod pump;
mod reader;
mod report;
mod spill;
pub mod triggers;
mod window;

use corticast_wire::socket::Dealer;
use tokio::sync::watch;

pub use self::{
    options::PublishOptions,
    report::{PublishError, PublishReport, RunRefused},
};
use self::{pump::Pump, triggers::Triggers};
use crate::adapter::ScannerAdapter;

/// Sends all runs of an adapter, with the scanner's triggers as marks if there are any. Returns after the last run, or soon after `stop` becomes true.
/// The adapter's thread ends at its next volume; while the scanner is silent, the thread can
/// outlive this function.
///
/// # Errors
///
/// Fails when the adapter fails, the daemon refuses a run, or the endpoint is invalid. A daemon
/// that does not answer is not an error.
pub async fn publish(
    adapter: Box<dyn ScannerAdapter>,
    options: PublishOptions,
    triggers: Option<Triggers>,
    stop: watch::Receiver<bool>,
) -> Result<PublishReport, PublishError> {
    let dealer = Dealer::connect(&options.endpoint, &options.security, &options.limits).await?;
    let items = reader::start(adapter).map_err(PublishError::Thread)?;
    Pump::new(dealer, options, items, triggers, stop).run().await
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
