//! The report of a run: one page for people and one JSON file for programs, both made from the
//! recording alone.
//!
//! ```text
//! recording ──► collect ──► facts of each run ──┬─► document   RUN_report.json
//!               voxels, carpet, latency         └─► page       RUN_report.html
//! ```
//!
//! The facts of a run end with its `ended` entry. What the recording holds behind it changes
//! nothing, so the daemon's report at the end of a run and a later `corticast report` are equal to
//! the bit. Neither holds a date or a path: a report can be shared.
//!
//! A part that is absent from the recording is named in the report and fails nothing; of a damaged
//! recording the report shows what can be read, and says so. Memory does not grow with the number
//! of volumes, except for a few numbers for each.

mod carpet;
mod collect;
mod cuts;
mod document;
mod entries;
pub mod error;
mod facts;
mod files;
mod judge;
mod latency;
mod otsu;
mod page;
mod picture;
mod settings;
mod voxels;

use std::path::Path;

pub use files::{Existing, paths, write};

use self::error::ReportError;

/// Which runs to report on.
#[derive(Clone, Copy, Debug, Default)]
pub enum Wanted<'a> {
    /// Every run of the recording.
    #[default]
    All,
    /// The run of this name.
    Run(&'a str),
}

impl Wanted<'_> {
    fn includes(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Run(asked) => asked == name,
        }
    }
}

/// The report of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the run.
    pub run: String,
    /// Whether the recording holds the end of the run.
    pub has_ended: bool,
    /// What happened, in one line.
    pub verdict: String,
    /// The page, HTML without external parts.
    pub page: String,
    /// The document, JSON.
    pub document: String,
}

/// Makes the reports of a recording. `progress` is called for each volume; when it returns false,
/// the work is given up.
///
/// `unblind` adds the participant's own feedback scores, which tell a sham from the real thing.
///
/// # Errors
///
/// Fails when the recording cannot be opened, has no such run, or `progress` returned false.
pub fn make(
    recording: &Path,
    wanted: Wanted<'_>,
    unblind: bool,
    progress: &mut dyn FnMut() -> bool,
) -> Result<Vec<Report>, ReportError> {
    let runs = collect::collect(recording, wanted, progress)?;
    runs.iter().map(|run| report(run, unblind)).collect()
}

fn report(run: &facts::RunFacts, unblind: bool) -> Result<Report, ReportError> {
    let judged = judge::Judged::of(run);
    Ok(Report {
        run: run.name.to_string(),
        has_ended: run.has_ended,
        page: page::page(run, &judged, unblind)?,
        document: document::document(run, &judged, unblind),
        verdict: judged.verdict,
    })
}

#[cfg(test)]
mod tests;
