//! Counts for all runs, and why sending ended early.

use corticast_images::error::AdapterError;
use corticast_wire::socket::SocketError;

/// Counts for the volumes of all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// Runs that were begun.
    pub n_runs: u32,
    /// Runs that the daemon refused and the adapter skipped.
    pub n_refused: u32,
    /// Volumes acknowledged.
    pub n_acked: u64,
    /// Volumes skipped because the daemon already had them.
    pub n_skipped: u64,
    /// Volumes sent more than once.
    pub n_resent: u64,
    /// Volumes that the daemon could not use, or that did not fit into memory and disk.
    pub n_lost: u64,
    /// Volumes that were never acknowledged.
    pub n_unacked: u64,
    /// Marks that were never sent.
    pub n_lost_marks: u64,
}

impl PublishReport {
    /// Whether the daemon has every volume that was acquired, and was sent every mark.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.n_lost_marks == 0 && self.n_lost == 0 && self.n_unacked == 0 && self.n_refused == 0
    }
}

/// Why sending ended early.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The scanner side failed. Earlier volumes were sent.
    #[error(transparent)]
    Adapter(Box<AdapterError>),
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The daemon refuses a run.
    #[error(transparent)]
    Refused(#[from] RunRefused),
    /// The system did not start the adapter's thread.
    #[error("cannot start the adapter's thread")]
    Thread(#[source] std::io::Error),
}

impl From<AdapterError> for PublishError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(error.into())
    }
}

/// The daemon refuses this run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon refuses run {run}: {reason}")]
pub struct RunRefused {
    /// Name of the run.
    pub run: String,
    /// The daemon's reason.
    pub reason: String,
}

/// Counts for the volumes of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Acknowledged.
    pub(super) acked: u64,
    /// Given up.
    pub(super) lost: u64,
    /// Sent more than once.
    pub(super) resent: u64,
}
