//! `corticast run`: the daemon.

use std::path::PathBuf;

use super::ConfigArgs;
use crate::{
    config::Overlay,
    exit::Exit,
    plan::{Plan, error::PlanError},
    service::{self, options::ServiceOptions},
};

/// Runs the daemon until SIGINT, SIGTERM, SIGHUP or `corticast ctl abort`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Record the session; an existing recording is continued
    #[arg(long, value_name = "OUT.mcap")]
    record: Option<PathBuf>,
    /// Write results as JSON lines
    #[arg(long, value_name = "OUT.jsonl")]
    results: Option<PathBuf>,
    /// Write the endpoints, with the ports that the system chose, as JSON
    #[arg(long, value_name = "OUT.json")]
    endpoints: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the daemon cannot start, or when recording failed.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let record = args.record.iter();
    let record = record.map(|path| Overlay::from_path("--record", "recording", "file", path));
    let results = args.results.iter();
    let results = results.map(|path| Overlay::from_path("--results", "recording", "results", path));
    let config = args.config.load(&record.chain(results).collect::<Vec<_>>())?;
    config.wire.security()?;
    if config.outputs.report.is_some() && config.recording.file.is_none() {
        return Err(PlanError::ReportWithoutRecording.into());
    }
    let plan = Plan::make(config)?;
    let options =
        ServiceOptions { endpoints_file: args.endpoints.clone(), ..ServiceOptions::default() };
    let runtime = super::runtime()?;
    let ended = runtime.block_on(service::run(plan, options));
    // A thread that did not end in time must not keep the process alive.
    runtime.shutdown_background();
    ended
}
