//! Shutdown: the order in which the threads and tasks of a session end.
//!
//! The receive task has ended and its end of the ring is dropped. What is on its way is finished in
//! the order of the path: the signal thread, the generator, the outputs, and the recording, which
//! takes from all of them, last.

use std::{sync::Arc, thread};

use corticast_wire::socket::Publisher;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{exit::Exit, outputs::pictures::PictureThreads, recording::recorder::RecorderThread};

/// The threads and tasks of a session beside the one that receives.
pub(super) struct Running {
    /// Ends with the number of volumes that were lost.
    pub(super) signal: thread::JoinHandle<u32>,
    /// Ends with whether the generator did not panic.
    pub(super) generating: Option<JoinHandle<bool>>,
    pub(super) publishing: [JoinHandle<()>; 2],
    /// The PUB socket stays open until everything has ended, so that it can send what it holds.
    pub(super) publisher: Arc<Publisher>,
    pub(super) pictures: PictureThreads,
    /// The results file.
    pub(super) results: Option<thread::JoinHandle<()>>,
    pub(super) recording: Option<RecorderThread>,
    /// Answers on `query` and `control`, and metrics.
    pub(super) serving: [JoinHandle<()>; 3],
    /// Answers to adapters.
    pub(super) answering: JoinHandle<()>,
}

impl Running {
    /// Waits for everything to end.
    ///
    /// # Errors
    ///
    /// Fails when a thread panicked or the recording was lost.
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
