//! Every source of volumes: a scanner, a simulated scanner, or files.
//!
//! The trait stands here and not with the scanner adapters because the daemon replays files
//! through the same sources and knows no adapter.

use corticast_bold::run::RunHeader;

use crate::{acquired::AcquiredVolume, error::AdapterError, events::Event};

/// One way to get volumes out of a scanner, or out of something that stands in for one.
///
/// An adapter knows one vendor's way of delivering images, and nothing about what happens to
/// a volume afterwards. Volumes come in the order in which they became complete; a volume that
/// never did shows up as a gap in `index`.
pub trait ScannerAdapter: Send {
    /// Waits for a run to start. Returns its geometry and timing, before its first volume;
    /// `None` when there will be no further run.
    ///
    /// # Errors
    ///
    /// Fails when the scanner side cannot go on.
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError>;

    /// Waits for the next complete volume; `None` once the run is over.
    ///
    /// # Errors
    ///
    /// Fails when the scanner side cannot go on. A damaged image is skipped, logged, and shows
    /// up as a gap.
    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError>;

    /// Events known before the run starts, e.g. from a BIDS `events.tsv`.
    fn events(&self) -> &[Event] {
        &[]
    }
}
