//! `corticast run`: the daemon.

use std::path::{Path, PathBuf};

use corticast_wire::files::apart::Kind;

use super::ConfigArgs;
use crate::{
    config::{Config, Overlay},
    exit::Exit,
    offline::files::Files,
    plan::{Plan, error::PlanError},
    service::{self, options::ServiceOptions},
};

/// Runs the daemon until SIGINT, SIGTERM, SIGHUP or `corticast ctl abort`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    files: FileArgs,
    /// Write the endpoints, with the ports that the system chose, as JSON
    #[arg(long, value_name = "OUT.json")]
    endpoints: Option<PathBuf>,
}

/// Files of a session.
#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// Record the session; an existing recording is continued
    #[arg(long, value_name = "OUT.mcap")]
    record: Option<PathBuf>,
    /// Write results as JSON lines
    #[arg(long, value_name = "OUT.jsonl")]
    results: Option<PathBuf>,
}

impl FileArgs {
    /// The keys of `[recording]` that the flags set.
    #[must_use]
    pub fn overlays(&self) -> Vec<Overlay> {
        [("--record", "file", &self.record), ("--results", "results", &self.results)]
            .into_iter()
            .filter_map(|(flag, key, path)| {
                Some(Overlay::from_path(flag, "recording", key, path.as_deref()?))
            })
            .collect()
    }
}

/// Checks that a session writes into no file that it reads, and into none twice.
///
/// # Errors
///
/// Fails on the first output that is another file of the session, or no file.
pub fn check_files(
    config_file: &Path,
    config: &Config,
    endpoints: Option<&Path>,
) -> Result<(), PlanError> {
    let mut files = Files::default();
    files.config_of_session(config_file, config);
    let (outputs, recording) = (&config.outputs, &config.recording);
    files.records("`file` in [recording]", recording.file.as_deref());
    files.output("`results` in [recording]", recording.results.as_deref(), Kind::Stream);
    files.output("`film` in [outputs]", outputs.film.as_deref(), Kind::File);
    files.output("`webp` in [outputs]", outputs.webp.as_deref(), Kind::NewFolder);
    files.output("`png` in [outputs]", outputs.png.as_deref(), Kind::NewFolder);
    files.output("--endpoints", endpoints, Kind::Stream);
    files.check().map_err(|error| PlanError::Output(error.to_string()))
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the daemon cannot start, or when recording failed.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let config = args.config.load(&args.files.overlays())?;
    config.wire.security()?;
    let plan = Plan::make(config)?;
    plan.check_outputs()?;
    check_files(&args.config.config, &plan.config, args.endpoints.as_deref())?;
    let options =
        ServiceOptions { endpoints_file: args.endpoints.clone(), ..ServiceOptions::default() };
    let runtime = super::runtime()?;
    let ended = runtime.block_on(service::run(plan, options));
    // A thread that did not end in time must not keep the process alive.
    runtime.shutdown_background();
    ended
}
