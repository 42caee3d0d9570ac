//! `corticast recover`: makes a recording that was cut whole again.

use std::path::PathBuf;

use crate::{
    exit::Exit,
    recording::recover::{Counts, Recovered, recover},
};

const EXAMPLES: &str = "Examples:
  corticast recover session.mcap
  corticast recover session.mcap --out whole.mcap

The recording as it was stays beside it as session.mcap.cut. A recording that is whole is left
alone. `corticast run --record` takes a cut recording up by itself.";

/// Makes a recording that was cut (kill, power, full disk) or damaged whole again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RecoverArgs {
    /// The recording
    #[arg(value_name = "REC.mcap")]
    recording: PathBuf,
    /// Leave the recording as it is and write the whole one here
    #[arg(long, value_name = "OUT.mcap")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the file is no recording, is being written, or the disk is full.
pub fn run(args: &RecoverArgs) -> anyhow::Result<Exit> {
    match recover(&args.recording, args.out.as_deref())? {
        Recovered::Whole(counts) => {
            println!("{} is whole: {}; nothing to do", args.recording.display(), text(&counts));
        }
        Recovered::Repaired { kept, cut, file, original } => {
            println!("{} is not whole: {cut}", args.recording.display());
            println!("kept: {}", text(&kept));
            if let Some((run, index)) = &kept.last_volume {
                println!("the last volume is {index} of {run}");
            }
            println!("whole: {}", file.display());
            println!("as it was: {}", original.display());
        }
    }
    Ok(Exit::Fine)
}

fn text(counts: &Counts) -> String {
    let Counts { n_entries, n_runs, n_volumes, n_results, .. } = counts;
    format!("{n_entries} entries ({n_runs} runs, {n_volumes} volumes, {n_results} results)")
}
