//! Supervision: the service learns when a thread or task has ended before the session did.
//!
//! A thread that panics takes its part of the session with it. The daemon must not go on
//! acknowledging volumes then, so it ends, and the supervisor of the machine starts it again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::mpsc, task::JoinHandle};

/// Ends that may wait to be noticed; the first one ends the session.
const QUEUE: usize = 16;

/// Gives out guards. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    ended: mpsc::Sender<&'static str>,
    is_stopping: Arc<AtomicBool>,
}

/// Held by a thread or task while it runs. Tells the supervisor when it is dropped, unless the
/// session is stopping.
pub struct Guard {
    name: &'static str,
    supervisor: Supervisor,
    has_ended_well: bool,
}

impl Supervisor {
    /// A supervisor, and the names of the threads and tasks that have ended too early.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<&'static str>) {
        let (ended, names) = mpsc::channel(QUEUE);
        (Self { ended, is_stopping: Arc::default() }, names)
    }

    /// A guard for a thread or task.
    #[must_use]
    pub fn guard(&self, name: &'static str) -> Guard {
        Guard { name, supervisor: self.clone(), has_ended_well: false }
    }

    /// Starts a task under a guard.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let guard = self.guard(name);
        tokio::spawn(async move {
            let _guard = guard;
            task.await
        })
    }

    /// Whether the session is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// From now on threads and tasks may end.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }
}

impl Guard {
    /// The thread or task has ended as it should, and told the operator why.
    pub fn has_ended_well(mut self) {
        self.has_ended_well = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.has_ended_well && !self.supervisor.is_stopping.load(Ordering::Acquire) {
            // A full queue holds earlier ends, and one is enough.
            self.supervisor.ended.try_send(self.name).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_named_and_one_that_stops_in_time_is_not() {
        let (supervisor, mut ended) = Supervisor::new();
        let guard = supervisor.guard("signal");
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("on purpose");
        });
        assert_eq!(ended.recv().await, Some("signal"));
        assert!(thread.join().is_err());
        let task = supervisor.spawn("query", async {});
        assert_eq!(ended.recv().await, Some("query"));
        task.await.unwrap();
        supervisor.stop();
        drop(supervisor.guard("results"));
        assert!(ended.try_recv().is_err());
    }
}
