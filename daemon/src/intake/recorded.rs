//! Which volumes are in the recording. The recorder writes it, and ingest reads it to decide
//! whether a volume that was sent again can be acknowledged at once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use corticast_bold::time::TrIndex;

use crate::signal::happening::RunNumber;

/// The volumes that are safe in the recording, by run and index.
pub type Recorded = Arc<Mutex<HashSet<(RunNumber, TrIndex)>>>;
