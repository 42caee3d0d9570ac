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
//! output. When the ring is full (the model has taken longer than a TR for a while), messages wait
//! in a bounded list and then with their adapters; heartbeats and commands are served meanwhile,
//! and `corticast_signal_path_load_ratio` shows the cause. A restart with the same recording first
//! continues the session in it.
//!
//! Every thread and task is watched: if one ends before the session does, the daemon raises an
//! alarm and ends, and the supervisor of the machine starts it again.

mod commands;
pub mod endpoints;
mod http;
mod notify;
pub mod options;
mod query;
mod reports;
mod runtime_folder;
mod shutdown;
mod sockets;
mod stop;
mod wiring;

use std::sync::atomic::Ordering;

use self::options::ServiceOptions;
use crate::{exit::Exit, plan::Plan, supervise::Supervisor};

/// Runs a session until it is stopped. Needs a tokio runtime with several threads.
///
/// # Errors
///
/// Fails when a socket cannot be bound or a file cannot be written. Once the session runs, fails
/// only when recording has failed, or when a thread or task has ended too early.
pub async fn run(plan: Plan, mut options: ServiceOptions) -> anyhow::Result<Exit> {
    let asked = options.stop.take();
    // Signals are caught from here on: a restart that reads a long recording can be interrupted.
    let signals = stop::Signals::catch()?;
    let (supervisor, mut ended) = Supervisor::new();
    let (mut inbox, running) = wiring::build(plan, options, &supervisor).await?;
    let stopped = async {
        tokio::select! {
            () = stop::asked(asked) => Ok(()),
            signal = signals.first() => {
                tracing::info!("{signal}: stopping; a second signal ends the daemon at once");
                Ok(())
            }
            Some(name) = ended.recv() => Err(stop::died(name)),
        }
    };
    let received = inbox.receive(stopped).await;
    // From here on nothing is acknowledged that is not recorded, and threads may end.
    running.is_ready.store(false, Ordering::Release);
    if let Err(error) = &received {
        inbox.fanout.status("alarm", error.to_string());
    }
    supervisor.stop();
    drop(inbox);
    let ended = running.shut_down().await;
    received.and(ended)
}
