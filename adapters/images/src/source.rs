//! The trait of every source of volumes: a scanner, a simulated scanner, or files.
//!
//! The trait is in this crate, and not with the scanner adapters, because the daemon replays files
//! through the same sources and does not depend on the adapters.

use std::sync::{Arc, atomic::AtomicU64};

use corticast_bold::run::RunHeader;

use crate::{acquired::AcquiredVolume, error::AdapterError, events::Event};

/// Ends a source. See [`ScannerAdapter::stopper`].
pub type Stopper = Box<dyn Fn() + Send>;

/// A source of volumes: a scanner, or a substitute for a scanner.
///
/// An adapter knows how one vendor delivers images, and nothing about the later use of a volume.
/// Volumes come in the order in which they became complete; a volume that never became complete
/// is a gap in `index`.
pub trait ScannerAdapter: Send {
    /// Waits for a run to start. Returns its geometry and timing before its first volume, or
    /// `None` after the last run.
    ///
    /// # Errors
    ///
    /// Fails when the scanner side cannot go on.
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError>;

    /// Waits for the next complete volume; `None` once the run is over.
    ///
    /// # Errors
    ///
    /// Fails when the scanner side cannot go on. A damaged image is not an error: it is skipped,
    /// logged, and becomes a gap.
    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError>;

    /// Events known before the run starts, e.g. from a BIDS `events.tsv`.
    fn events(&self) -> &[Event] {
        &[]
    }

    /// Ends the source from another thread: it delivers what it holds, and then nothing more. `None` if
    /// the source holds nothing back.
    fn stopper(&self) -> Option<Stopper> {
        None
    }

    /// Counts the volumes and senders that were refused or lost on the way here. A program that
    /// refused something does not end as if all were well.
    fn refused(&self) -> Option<Arc<AtomicU64>> {
        None
    }
}
