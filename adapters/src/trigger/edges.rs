//! Edges on their way from the thread of a device to the task that sends volumes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// Edges that wait for the task. A scanner gives at most some hundred a second, and the task looks
/// more often than that.
const QUEUE: usize = 1024;
/// So many bounces in a row are a device that floods.
const FLOOD: u32 = 200;

/// What the thread of a device counted, since the adapter began.
#[derive(Debug, Default)]
pub struct Heard {
    bounces: AtomicU32,
    lost: AtomicU32,
}

impl Heard {
    /// Edges that followed another one too closely.
    #[must_use]
    pub fn bounces(&self) -> u32 {
        self.bounces.load(Ordering::Relaxed)
    }

    /// Edges that found no room in the queue.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The end of the queue at which edges come out.
#[derive(Debug)]
pub struct Listening {
    edges: mpsc::Receiver<Instant>,
    /// Counts of the device's thread.
    pub heard: Arc<Heard>,
}

impl Listening {
    /// Waits for the next edge, and for ever once there is none to come.
    pub async fn next(&mut self) -> Instant {
        match self.edges.recv().await {
            Some(at) => at,
            None => std::future::pending().await,
        }
    }
}

/// The end of the queue at which the thread of a device puts edges.
#[derive(Debug)]
pub struct Edges {
    sender: mpsc::Sender<Instant>,
    heard: Arc<Heard>,
    bounce: Duration,
    last: Option<Instant>,
    n_in_a_row: u32,
}

/// A queue of edges. An edge within `bounce` of the one before is left out.
#[must_use]
pub fn channel(bounce: Duration) -> (Edges, Listening) {
    let (sender, edges) = mpsc::channel(QUEUE);
    let heard = Arc::<Heard>::default();
    let listening = Listening { edges, heard: Arc::clone(&heard) };
    (Edges { sender, heard, bounce, last: None, n_in_a_row: 0 }, listening)
}

impl Edges {
    /// Takes an edge that came at this time. Returns false when nobody listens any more.
    #[must_use]
    pub fn push(&mut self, at: Instant) -> bool {
        // From the edge before, be it a bounce: a device that floods gives one trigger, not many.
        let last = self.last.replace(at);
        if last.is_some_and(|last| at.saturating_duration_since(last) < self.bounce) {
            self.heard.bounces.fetch_add(1, Ordering::Relaxed);
            self.n_in_a_row += 1;
            if self.n_in_a_row == FLOOD {
                tracing::warn!(
                    "the trigger device floods: {FLOOD} edges followed each other within {} ms; \
                     they are left out until there is a pause",
                    self.bounce.as_millis()
                );
            }
            return !self.sender.is_closed();
        }
        self.n_in_a_row = 0;
        match self.sender.try_send(at) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.heard.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Whether nobody listens any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounces_and_floods_are_counted_and_left_out() {
        let (mut edges, mut listening) = channel(Duration::from_millis(10));
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for ms in [0, 3, 9, 1000, 1004, 2000] {
            assert!(edges.push(at(ms)));
        }
        // One edge a millisecond for two seconds.
        (3000..5000).for_each(|ms| assert!(edges.push(at(ms))));
        let taken: Vec<Instant> = std::iter::from_fn(|| listening.edges.try_recv().ok()).collect();
        assert_eq!(taken, [0, 1000, 2000, 3000].map(at));
        assert_eq!((listening.heard.bounces(), listening.heard.lost()), (3 + 1999, 0));
        drop(listening);
        assert!(!edges.push(at(9000)));
    }

    #[test]
    fn a_full_queue_loses_edges_and_says_so() {
        let (mut edges, listening) = channel(Duration::ZERO);
        let start = Instant::now();
        (0..QUEUE as u64 + 5).for_each(|ms| assert!(edges.push(start + Duration::from_millis(ms))));
        assert_eq!(listening.heard.lost(), 5);
    }
}
