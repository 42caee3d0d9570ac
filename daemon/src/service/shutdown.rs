//! Shutdown: the order in which the threads and tasks of a session end, and its deadline.
//!
//! By then the receive task has ended and dropped its end of the ring. Volumes and products in
//! transit are finished in the order of the path: signal thread, generator, outputs. The recording
//! takes entries from all of them and ends last. What is acknowledged is on the disk already, so a
//! thread that does not end costs nothing but what it was working on.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use corticast_wire::socket::Publisher;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout, timeout_at},
};

use super::notify;
use crate::{
    exit::Exit,
    outputs::{pictures::PictureThreads, sinks::SinkThreads},
    recording::recorder::RecorderThread,
};

/// How long volumes in transit may be decoded. Those that are left are recorded, and a restart
/// decodes them.
const DECODING: Duration = Duration::from_secs(8);
/// How long the whole shutdown may take: less than supervisors wait before they kill.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often the log says what is still running.
const REPORT: Duration = Duration::from_secs(5);
/// How long the last answers to adapters may take.
const ANSWERS: Duration = Duration::from_secs(1);

/// The threads and tasks of a session, except the receive task.
pub(super) struct Running {
    /// Whether `/readyz` says yes.
    pub(super) is_ready: Arc<AtomicBool>,
    /// Set when volumes in transit are no longer decoded.
    pub(super) is_late: Arc<AtomicBool>,
    /// Returns the number of lost volumes.
    pub(super) signal: thread::JoinHandle<u32>,
    /// Returns false when the generator panicked.
    pub(super) generating: Option<JoinHandle<bool>>,
    pub(super) publishing: [JoinHandle<()>; 2],
    /// The PUB socket stays open until everything has ended, so that it can send its queue.
    pub(super) publisher: Arc<Publisher>,
    pub(super) pictures: PictureThreads,
    pub(super) sinks: SinkThreads,
    /// The results file.
    pub(super) results: Option<thread::JoinHandle<()>>,
    pub(super) recording: Option<RecorderThread>,
    /// The reports of runs; its thread ends after the recorder.
    pub(super) reporting: Option<thread::JoinHandle<()>>,
    /// The tasks that serve `query`, `control` and metrics.
    pub(super) serving: [JoinHandle<()>; 3],
    /// The task that answers adapters.
    pub(super) answering: JoinHandle<()>,
    /// The mark of a sealed assignment: locked until the session has ended.
    pub(super) _assignment: Option<File>,
}

impl Running {
    /// Waits for everything to end, but no longer than [`DEADLINE`].
    ///
    /// # Errors
    ///
    /// Fails when a thread panicked or does not end, or when recording failed.
    pub(super) async fn shut_down(self) -> anyhow::Result<Exit> {
        notify::supervisor("STOPPING=1");
        let wait = Wait { deadline: Instant::now() + DEADLINE };
        let (signal, is_late) = (self.signal, self.is_late);
        let hurry = tokio::spawn(async move {
            tokio::time::sleep(DECODING).await;
            is_late.store(true, Ordering::Release);
        });
        // The outputs wait for the signal thread, so they would not end either.
        let n_lost = wait.of("decoding", spawn_blocking(move || signal.join())).await?;
        hurry.abort();
        if let Some(generating) = self.generating {
            let ended = wait.of("the generator", generating).await?;
            anyhow::ensure!(ended, "the generator thread panicked");
        }
        for publishing in self.publishing {
            wait.of("publishing", publishing).await?;
        }
        let pictures = self.pictures;
        wait.of("films and pictures", spawn_blocking(move || pictures.join())).await?;
        let sinks = self.sinks;
        wait.of("sinks", spawn_blocking(move || sinks.join())).await?;
        if let Some(results) = self.results {
            wait.of("the results file", spawn_blocking(move || results.join())).await?.ok();
        }
        let recorded = match self.recording {
            Some(thread) => wait.of("the recorder", spawn_blocking(move || thread.join())).await?,
            None => Ok(()),
        };
        if let Some(reporting) = self.reporting {
            wait.of("reports", spawn_blocking(move || reporting.join())).await?.ok();
        }
        self.serving.iter().for_each(JoinHandle::abort);
        // The recorder's last flush may have acknowledged volumes.
        if timeout(ANSWERS, self.answering).await.is_err() {
            tracing::warn!("the last answers to adapters were not sent; adapters will ask again");
        }
        drop(self.publisher);
        let n_lost = n_lost.map_err(|_| anyhow::anyhow!("the signal thread panicked"))?;
        recorded?;
        tracing::info!("stopped");
        Ok(if n_lost > 0 { Exit::VolumesLost } else { Exit::Fine })
    }
}

/// Waits for threads and tasks.
struct Wait {
    deadline: Instant,
}

impl Wait {
    async fn of<T>(&self, name: &str, task: JoinHandle<T>) -> anyhow::Result<T> {
        tokio::pin!(task);
        loop {
            let next = (Instant::now() + REPORT).min(self.deadline);
            match timeout_at(next, &mut task).await {
                Ok(ended) => {
                    return ended.map_err(|_| anyhow::anyhow!("the task of {name} panicked"));
                }
                Err(_) if next < self.deadline => {
                    tracing::warn!("still running: {name}");
                    notify::supervisor(&format!("STATUS=stopping; still running: {name}"));
                }
                Err(_) => anyhow::bail!(
                    "{name} did not end within {} s; what was acknowledged is recorded, and a \
                     restart with the same recording continues the session",
                    DEADLINE.as_secs()
                ),
            }
        }
    }
}
