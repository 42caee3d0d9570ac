//! `corticast recover`: repairs a recording that was cut.

use std::path::PathBuf;

use corticast_wire::files::apart::Kind;

use crate::{
    exit::Exit,
    offline::files::Files,
    recording::recover::{Counts, Recovered, recover},
};

const EXAMPLES: &str = "Examples:
  corticast recover session.mcap
  corticast recover session.mcap --out whole.mcap

The original recording stays beside the repaired one as session.mcap.cut. A whole recording
is not changed. `corticast run --record` continues a cut recording by itself.";

/// Repairs a recording that was cut (kill, power failure, full disk) or damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RecoverArgs {
    /// The recording
    #[arg(value_name = "REC.mcap")]
    recording: PathBuf,
    /// Leave the recording unchanged and write the repaired one to this file
    #[arg(long, value_name = "OUT.mcap")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the file is not a recording, is being written, or the disk is full.
pub fn run(args: &RecoverArgs) -> anyhow::Result<Exit> {
    let mut files = Files::default();
    files.recording(&args.recording);
    files.output("--out", args.out.as_deref(), Kind::File);
    files.check()?;
    match recover(&args.recording, args.out.as_deref())? {
        Recovered::Whole(counts) => {
            super::print_line(&format!(
                "{} is whole: {}; nothing to do",
                args.recording.display(),
                text(&counts)
            ))?;
        }
        Recovered::Repaired { kept, found, file, originals } => {
            super::print_line(&format!(
                "{} is not one whole file: {found}",
                args.recording.display()
            ))?;
            super::print_line(&format!("kept: {}", text(&kept)))?;
            if let Some((run, index)) = &kept.last_volume {
                super::print_line(&format!("the last volume is {index} of {run}"))?;
            }
            super::print_line(&format!("repaired: {}", file.display()))?;
            for original in originals {
                super::print_line(&format!("original: {}", original.display()))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn text(counts: &Counts) -> String {
    let Counts { n_entries, n_runs, n_volumes, n_results, .. } = counts;
    format!("{n_entries} entries ({n_runs} runs, {n_volumes} volumes, {n_results} results)")
}
