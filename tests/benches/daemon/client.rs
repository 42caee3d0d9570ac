//! The clients of the daemon: a scanner that feeds it, and a subscriber.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use corticast::clock::monotonic_ns;
use corticast_bold::run::RunHeader;
use corticast_wire::{
    message::{Encoding, End, FromAdapter, ToAdapter, decode},
    socket::{ClientSecurity, Dealer, Limits, Subscriber},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::process::Daemon;

/// Longest wait for an answer or result.
const PATIENCE: Duration = Duration::from_secs(20);

/// A scanner with an open run.
pub struct Scanner {
    dealer: Dealer,
    /// Name that the daemon gave the run.
    pub run: String,
}

impl Scanner {
    /// Connects and opens a run.
    pub async fn open(
        daemon: &Daemon,
        security: &ClientSecurity,
        header: RunHeader,
    ) -> anyhow::Result<Self> {
        let endpoint = daemon.endpoint("adapter")?;
        let dealer = Dealer::connect(endpoint, security, &Limits::default()).await?;
        dealer.wait_connected(PATIENCE).await?;
        let run = FromAdapter::Run { header, resume: false };
        dealer.send(run.to_frames(Encoding::MessagePack)).await?;
        let mut scanner = Self { dealer, run: String::new() };
        match scanner.answer().await? {
            ToAdapter::Ready(ready) => scanner.run = ready.run,
            other => bail!("expected `ready`, got {other:?}"),
        }
        Ok(scanner)
    }

    /// Sends one message.
    pub async fn send(&self, frames: Vec<Bytes>) -> anyhow::Result<()> {
        Ok(self.dealer.send(frames).await?)
    }

    /// Waits until a volume is acknowledged.
    pub async fn acknowledged(&self) -> anyhow::Result<()> {
        match self.answer().await? {
            ToAdapter::Ack(_) => Ok(()),
            other => bail!("expected `ack`, got {other:?}"),
        }
    }

    /// Ends the run.
    pub async fn end(self, n_sent: u32) -> anyhow::Result<()> {
        let end =
            FromAdapter::End(End { run: self.run.clone(), n_sent: Some(n_sent), triggers: None });
        self.dealer.send(end.to_frames(Encoding::MessagePack)).await?;
        self.acknowledged().await
    }

    async fn answer(&self) -> anyhow::Result<ToAdapter> {
        loop {
            let frames = timeout(PATIENCE, self.dealer.recv()).await.context("no answer")??;
            match ToAdapter::parse(&frames)? {
                ToAdapter::Ping(_) => {}
                answer => return Ok(answer),
            }
        }
    }
}

/// A result and its time of arrival.
pub struct Seen {
    /// Index of its volume.
    pub index: u32,
    /// When the result arrived, on the monotonic clock that daemon and bench share.
    pub arrived_ns: u64,
    /// Its header.
    pub header: Value,
}

impl Seen {
    /// A time stamp in its header.
    pub fn stamp(&self, path: &str) -> anyhow::Result<u64> {
        let stamp = self.header.pointer(path).and_then(Value::as_u64);
        stamp.with_context(|| format!("a result without {path}"))
    }
}

/// A subscriber to results.
pub struct Viewer(Subscriber);

impl Viewer {
    /// Subscribes, and waits until results would arrive.
    pub async fn connect(daemon: &Daemon, security: &ClientSecurity) -> anyhow::Result<Self> {
        let endpoint = daemon.endpoint("publish")?;
        let limits = Limits::default();
        let subscriber = Subscriber::connect(endpoint, &["concepts"], security, &limits).await?;
        subscriber.wait_connected(PATIENCE).await?;
        // The subscription follows the connection and is not confirmed.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(Self(subscriber))
    }

    /// The next result.
    pub async fn next(&self) -> anyhow::Result<Seen> {
        let frames = timeout(PATIENCE, self.0.recv()).await.context("no result")??;
        let arrived_ns = monotonic_ns();
        let frame = frames.get(1).context("a result without a header")?;
        let header: Value = decode("concepts", frame, Encoding::MessagePack)?;
        let index = header["index"].as_u64().context("a result without its index")?;
        Ok(Seen { index: u32::try_from(index)?, arrived_ns, header })
    }
}
