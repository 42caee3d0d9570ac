//! `corticast prepare`: makes training data with the signal path of the live daemon.

use std::path::PathBuf;

use super::{ConfigArgs, advance, volume_bar};
use crate::{
    exit::Exit,
    offline::{files::Files, prepare::prepare, source::Source},
};

/// Makes training data from recorded runs.
#[derive(Debug, clap::Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A run: BOLD,EVENTS (.nii[.gz], .mcap, or a BIDS run); may be given several times
    #[arg(long = "run", required = true, value_name = "BOLD,EVENTS")]
    runs: Vec<String>,
    /// Repetition time of images in seconds [default: from the sidecar, else the header]
    #[arg(long, value_name = "SECONDS")]
    tr: Option<f64>,
    /// Folder to write, with one folder per run
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the configuration is invalid, a run cannot be read, or the output cannot be written.
pub fn run(args: &PrepareArgs) -> anyhow::Result<Exit> {
    let config = args.config.load(&[])?;
    let sources: Vec<Source> = args.runs.iter().map(|run| Source::parse(run, args.tr)).collect();
    let mut files = Files::default();
    files.config(&args.config.config, &config);
    let bar = volume_bar("prepare");
    let prepared = prepare(config, &sources, &files, &args.out, &mut |n| advance(&bar, n));
    bar.finish_and_clear();
    for run in prepared? {
        super::print_line(&format!(
            "{}: {} windows in {}",
            run.run,
            run.n_window,
            args.out.join(&run.run).display()
        ))?;
    }
    Ok(Exit::Fine)
}
