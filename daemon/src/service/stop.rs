//! What ends a session: a signal, a request, or a thread that has died.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
};

/// Gives the number of a signal.
type Kind = fn() -> SignalKind;

/// The signals that stop the daemon: all in the same way.
const SIGNALS: [(&str, Kind); 3] = [
    ("SIGINT", SignalKind::interrupt),
    ("SIGTERM", SignalKind::terminate),
    ("SIGHUP", SignalKind::hangup),
];

/// The signals that were caught. The second one ends the process at once.
pub(super) struct Signals(watch::Receiver<Option<&'static str>>);

impl Signals {
    /// Catches signals from now on.
    ///
    /// # Errors
    ///
    /// Fails when the system does not let the process catch a signal.
    pub(super) fn catch() -> std::io::Result<Self> {
        let (first, caught) = watch::channel(None);
        let mut signals = Vec::new();
        for (name, kind) in SIGNALS {
            signals.push((name, signal(kind())?));
        }
        tokio::spawn(async move {
            let name = next(&mut signals).await;
            first.send_replace(Some(name));
            let name = next(&mut signals).await;
            tracing::error!(
                "{name} again: ending at once; a restart with the same recording continues the \
                 session"
            );
            std::process::exit(1);
        });
        Ok(Self(caught))
    }

    /// Waits for the first signal. Returns its name.
    pub(super) async fn first(mut self) -> &'static str {
        match self.0.wait_for(Option::is_some).await {
            Ok(name) => name.unwrap_or("a signal"),
            // The task that waits for signals lives as long as the process.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn next(signals: &mut [(&'static str, Signal)]) -> &'static str {
    let [(first, a), (second, b), (third, c)] = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = a.recv() => first,
        _ = b.recv() => second,
        _ = c.recv() => third,
    }
}

/// Waits until the caller of the service asks it to stop.
pub(super) async fn asked(stop: Option<oneshot::Receiver<()>>) {
    let is_asked = match stop {
        Some(stop) => stop.await.is_ok(),
        None => false,
    };
    if !is_asked {
        // The sender was dropped or never existed: no request to stop can come.
        std::future::pending::<()>().await;
    }
}

/// The error when a thread or task has ended too early.
pub(super) fn died(name: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "the {name} thread of the daemon has died; nothing more is acknowledged and the daemon \
         ends; start it again with the same recording to continue the session"
    )
}
