//! The service: sockets around a session.
//!
//! ```text
//!  adapter ROUTER ──► receive task ──ring──► signal thread ──► outputs (PUB, JSON lines, …)
//!       ▲               │    │                    │
//!       │ answers       │    └──► recorder thread ◄── products
//!       └───────────────┴── acknowledgements ◄──┘
//! ```
//!
//! Sockets run on tokio; the signal path runs on its own thread, fed by a ring, and waits for no
//! output. When the ring is full (the model has taken longer than a TR for a while), the receive
//! task stops reading: adapters keep their volumes, nothing is lost, and
//! `corticast_signal_path_load_ratio` shows the cause. A restart with the same recording first
//! continues the session in it.

mod commands;
pub mod endpoints;
mod http;
pub mod options;
mod query;
mod shutdown;
mod sockets;
mod wiring;

use self::options::ServiceOptions;
use crate::{exit::Exit, plan::Plan};

/// Runs a session until it is stopped. Needs a tokio runtime with several threads.
///
/// # Errors
///
/// Fails when a socket cannot be bound or a file cannot be written. Once the session runs, fails
/// only when recording or a thread has failed.
pub async fn run(plan: Plan, mut options: ServiceOptions) -> anyhow::Result<Exit> {
    let stop = options.stop.take();
    let (mut inbox, running) = wiring::build(plan, options).await?;
    inbox.receive(stop).await?;
    drop(inbox);
    running.shut_down().await
}
