//! Helpers of the whole-system tests: real binaries, real sockets, small scans.
//!
//! Each test has a [`Site`]: a temporary folder with a simulated scan, a mask of four voxels, a
//! model whose weights are known by hand, and a configuration that lets the system choose all
//! ports. A process ends when its value is dropped.
//!
//! No test may depend on the speed of the machine. Every wait is for an observable state:
//! an acknowledgement, a published message, a metric, a line of a file. [`PATIENCE`] only keeps a
//! test that will never succeed from waiting for ever.
#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking, in its helpers too")]

mod kept;
mod lines;
mod mosaics;
mod neurofeedback;
mod played;
mod process;
mod site;
mod talk;
mod turned;
mod worker;

use std::{path::PathBuf, time::Duration};

pub use kept::Kept;
pub use lines::{concepts, counts, entries, published, recorded_volumes, results, without_ns};
pub use mosaics::{fixture, mosaic, text_of, value_of};
pub use neurofeedback::{DESIGN, scan_for_feedback, score_of, with_feedback};
pub use played::PlayedDaemon;
pub use process::{
    Daemon, Finished, Metrics, Process, adapter, binary, corticast, in_shell, own_address,
};
pub use site::{CLASSES, Site, probabilities};
pub use talk::{Talk, Watch, http_get};
pub use turned::{Axes, turn_file};
pub use worker::{HeldWorker, WORKERS, worker};

/// How long a test waits for a step. No step takes this long, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Polls until `ask` returns a value. For files and processes, which send no events.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        #[allow(clippy::disallowed_methods, reason = "a file sends no event when it appears")]
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file of the repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The folder of real scans; if it is not configured, reports that the test did not run.
#[must_use]
pub fn real_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CORTICAST_DATA").map(PathBuf::from);
    if folder.is_none() {
        not_run(test, "CORTICAST_DATA does not name the folder of real scans");
    }
    folder
}

/// Reports that a test did not run. Writes to standard error directly, so the test harness does
/// not capture the message.
pub fn not_run(test: &str, why: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "NOT RUN: {test}: {why}").ok();
}
