//! `corticast report`: what happened in each run of a recording, for people and for programs.

use std::path::PathBuf;

use corticast_wire::files::apart::Kind;

use super::volume_bar;
use crate::{
    exit::Exit,
    offline::{
        files::Files,
        report::{self, Existing, Wanted},
    },
};

const EXAMPLES: &str = "Examples:
  corticast report session.mcap
  corticast report session.mcap --out reports --run sub-01_task-movie_run-1
  corticast report session.mcap --out reports --overwrite --unblind

Writes RUN_report.html (a page without external parts: motion, FD, DVARS, tSNR, carpet, feedback,
latency, what was lost) and RUN_report.json (the same numbers, and what was done to the data) for
each run. Both are made from the recording alone, and equal those that the daemon writes with
`report` in [outputs]. Of a damaged recording they show what can be read.";

/// Makes the report of each run from a recording.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// The recording
    #[arg(value_name = "REC.mcap")]
    recording: PathBuf,
    /// Folder for the reports
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Report only on this run
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Replace existing reports
    #[arg(long)]
    overwrite: bool,
    /// Show the participant's own scores, which tell a sham from the real feedback
    #[arg(long)]
    unblind: bool,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the recording cannot be opened, has no such run, or a file cannot be written.
pub fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let bar = volume_bar("report");
    let wanted = args.run.as_deref().map_or(Wanted::All, Wanted::Run);
    let reports = report::make(&args.recording, wanted, args.unblind, &mut || {
        bar.inc(1);
        true
    });
    bar.finish_and_clear();
    let existing = if args.overwrite { Existing::Replace } else { Existing::Refuse };
    let reports = reports?;
    let mut files = Files::default();
    files.recording(&args.recording);
    for path in reports.iter().flat_map(|report| report::paths(report, &args.out)) {
        files.output("--out", Some(&path), Kind::File);
    }
    files.check()?;
    for report in reports {
        let [page, document] = report::write(&report, &args.out, existing)?;
        let files = format!("{}, {}", page.display(), document.display());
        super::print_line(&format!("{}: {}\n  {files}", report.run, report.verdict))?;
    }
    Ok(Exit::Fine)
}
