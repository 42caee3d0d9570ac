//! The thread that writes the report of each run when the run has ended, from the recording.
//!
//! It has a low priority, and nothing waits for it. The end of a run may not be on the disk yet
//! when the thread looks for it: it looks again a few times, and once more when the session is over
//! and the recording complete. A report that could not be made is named in the log, with the
//! command that makes it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use corticast_wire::text::explain;
use tokio::time::timeout;

use crate::{
    failpoint,
    offline::report::{self, Existing, Wanted, error::ReportError},
    queue::drop_oldest::Drain,
    supervise::Supervisor,
};

/// Runs that have ended and wait for their report. Runs take minutes, reports seconds.
pub(super) const QUEUE: usize = 16;

/// Added to the nice value of the thread.
const NICENESS: i32 = 19;

/// How often the thread looks for the end of a run before the session is over, and how long it
/// waits in between.
const TRIES: u32 = 4;
const BETWEEN: Duration = Duration::from_secs(1);

/// How long a report may take once the session is stopping. The shutdown has 20 s in all.
const WHEN_STOPPING: Duration = Duration::from_secs(6);

/// A run that waits for its report.
struct Pending {
    run: Arc<str>,
    n_tries: u32,
}

/// Writes reports. See the module docs.
pub(super) struct Reports {
    /// The recording.
    pub(super) recording: PathBuf,
    /// Where the reports go.
    pub(super) folder: PathBuf,
    /// Names of runs that have ended.
    pub(super) ended: Drain<Arc<str>>,
    pub(super) supervisor: Supervisor,
}

impl Reports {
    /// Starts the thread. It ends after the recorder. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the thread cannot be started.
    pub(super) fn start(self) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("report".to_owned()).spawn(move || {
            // On Linux this sets the priority of this thread only. Reports work without it.
            rustix::process::nice(NICENESS).ok();
            let _guard = self.supervisor.guard("report");
            let mut pending: Vec<Pending> = Vec::new();
            loop {
                let is_waiting = pending.iter().any(|pending| pending.n_tries < TRIES);
                let patience = if is_waiting { BETWEEN } else { Duration::MAX };
                match runtime.block_on(async { timeout(patience, self.ended.next()).await }) {
                    Ok(Some(run)) => pending.push(Pending { run, n_tries: 0 }),
                    Ok(None) => break,
                    Err(_) => {}
                }
                pending.retain_mut(|pending| pending.n_tries >= TRIES || !self.try_once(pending));
            }
            // The recording is complete now.
            for mut left in pending {
                if !self.try_once(&mut left) {
                    self.give_up(&left.run, "its end is not in the recording");
                }
            }
        })
    }

    /// Makes and writes a report. Returns false if it should be tried again.
    fn try_once(&self, pending: &mut Pending) -> bool {
        pending.n_tries += 1;
        // A report is no reason to end a session.
        let made = catch_unwind(AssertUnwindSafe(|| {
            failpoint::point("report");
            self.make(&pending.run)
        }));
        match made {
            Ok(Ok(true)) => true,
            Ok(Ok(false)) => false,
            Ok(Err(error)) => {
                self.give_up(&pending.run, &explain(&error));
                true
            }
            Err(_) => {
                self.give_up(&pending.run, "the thread that makes it panicked");
                true
            }
        }
    }

    /// Returns false if the recording does not hold the end of the run yet.
    fn make(&self, run: &str) -> Result<bool, ReportError> {
        let mut stopping_since: Option<Instant> = None;
        let mut go_on = || {
            if !self.supervisor.is_stopping() {
                return true;
            }
            stopping_since.get_or_insert_with(Instant::now).elapsed() < WHEN_STOPPING
        };
        let reports = match report::make(&self.recording, Wanted::Run(run), false, &mut go_on) {
            // Its start is not on the disk yet.
            Err(ReportError::NoRun(_) | ReportError::NoSuchRun { .. }) => return Ok(false),
            made => made?,
        };
        for report in &reports {
            if !report.has_ended {
                return Ok(false);
            }
            let [page, _] = report::write(report, &self.folder, Existing::Keep)?;
            tracing::info!(run, report = %page.display(), "{}", report.verdict);
        }
        Ok(true)
    }

    fn give_up(&self, run: &str, why: &str) {
        tracing::warn!(
            run,
            "no report: {why}; make it with `corticast report {} --run {run} --out {}`",
            shown(&self.recording),
            shown(&self.folder),
        );
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
