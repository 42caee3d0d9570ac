//! Shutdown: the order in which the threads and tasks of a session end.
//!
//! By then the receive task has ended and dropped its end of the ring. Volumes and products in
//! transit are finished in the order of the path: signal thread, generator, outputs. The recording
//! takes entries from all of them and ends last.

use std::{sync::Arc, thread};

use corticast_wire::socket::Publisher;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{exit::Exit, outputs::pictures::PictureThreads, recording::recorder::RecorderThread};

/// The threads and tasks of a session, except the receive task.
pub(super) struct Running {
    /// Returns the number of lost volumes.
    pub(super) signal: thread::JoinHandle<u32>,
    /// Returns false when the generator panicked.
    pub(super) generating: Option<JoinHandle<bool>>,
    pub(super) publishing: [JoinHandle<()>; 2],
    /// The PUB socket stays open until everything has ended, so that it can send its queue.
    pub(super) publisher: Arc<Publisher>,
    pub(super) pictures: PictureThreads,
    /// The results file.
    pub(super) results: Option<thread::JoinHandle<()>>,
    pub(super) recording: Option<RecorderThread>,
    /// The tasks that serve `query`, `control` and metrics.
    pub(super) serving: [JoinHandle<()>; 3],
    /// The task that answers adapters.
    pub(super) answering: JoinHandle<()>,
}

impl Running {
    /// Waits for everything to end.
    ///
    /// # Errors
    ///
    /// Fails when a thread panicked or recording failed.
    pub(super) async fn shut_down(self) -> anyhow::Result<Exit> {
        let signal = self.signal;
        let n_lost = spawn_blocking(move || signal.join()).await?;
        let n_lost = n_lost.map_err(|_| anyhow::anyhow!("the signal thread panicked"))?;
        if let Some(generating) = self.generating {
            anyhow::ensure!(generating.await?, "the generator thread panicked");
        }
        for publishing in self.publishing {
            publishing.await?;
        }
        let pictures = self.pictures;
        spawn_blocking(move || pictures.join()).await?;
        if let Some(results) = self.results {
            spawn_blocking(move || results.join()).await?.ok();
        }
        let recorded = match self.recording {
            Some(thread) => spawn_blocking(move || thread.join()).await?,
            None => Ok(()),
        };
        self.serving.iter().for_each(JoinHandle::abort);
        self.answering.abort();
        tracing::info!("stopped");
        drop(self.publisher);
        recorded?;
        Ok(if n_lost > 0 { Exit::VolumesLost } else { Exit::Fine })
    }
}
