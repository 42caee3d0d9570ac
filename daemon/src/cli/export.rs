//! `corticast export`: writes a recording as files for other tools.

use std::path::PathBuf;

use corticast_wire::files::apart::Kind;
use indicatif::ProgressBar;

use super::volume_bar;
use crate::{
    exit::Exit,
    offline::{
        export::{
            bids,
            contents::{Contents, RunContents},
            lines::{self, Topic},
            volumes,
        },
        files::Files,
    },
};

const EXAMPLES: &str = "Examples:
  corticast export session.mcap --jsonl results.jsonl
  corticast export session.mcap --jsonl everything.jsonl --topic all
  corticast export session.mcap --nifti run-1.nii.gz --run sub-01_task-movie_run-1
  corticast export session.mcap --bids dataset

A missing volume is zeros in an image, and its index is printed on standard error. A
recording that was cut is exported up to the cut.";

/// Exports a recording as a NIfTI image, a BIDS dataset or JSON lines.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("format").required(true)), after_help = EXAMPLES)]
pub struct ExportArgs {
    /// The recording
    #[arg(value_name = "REC.mcap")]
    recording: PathBuf,
    /// One run's volumes, as the scanner sent them
    #[arg(long, group = "format", value_name = "OUT.nii.gz")]
    nifti: Option<PathBuf>,
    /// All runs with their events and results, into a new or an existing dataset
    #[arg(long, group = "format", value_name = "DIR")]
    bids: Option<PathBuf>,
    /// The decoded results, byte for byte as they were recorded
    #[arg(long, group = "format", value_name = "OUT.jsonl")]
    jsonl: Option<PathBuf>,
    /// Export only this run
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// The lines that --jsonl writes
    #[arg(long, value_enum, default_value_t = Topic::Concepts, conflicts_with_all = ["nifti", "bids"])]
    topic: Topic,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the recording cannot be read, a file exists already, or the disk is full.
pub fn run(args: &ExportArgs) -> anyhow::Result<Exit> {
    let mut files = Files::default();
    files.recording(&args.recording);
    files.output("--jsonl", args.jsonl.as_deref(), Kind::File);
    files.output("--nifti", args.nifti.as_deref(), Kind::File);
    files.check()?;
    let bar = volume_bar("read");
    let contents = Contents::of(&args.recording, &mut || bar.inc(1))?;
    if let Some(fault) = &contents.fault {
        tracing::warn!("{fault}; all other entries are exported");
    }
    bar.set_message("export");
    bar.set_length(bar.position());
    bar.set_position(0);
    let result = write(args, &contents, &bar);
    bar.finish_and_clear();
    for line in result? {
        super::print_line(&line)?;
    }
    Ok(Exit::Fine)
}

/// Writes the files. Returns the lines to print.
fn write(args: &ExportArgs, contents: &Contents, bar: &ProgressBar) -> anyhow::Result<Vec<String>> {
    let (asked, force) = (args.run.as_deref(), args.force);
    let mut progress = || bar.inc(1);
    if let Some(out) = &args.nifti {
        let n_volume = volumes::export(contents, asked, out, force, &mut progress)?;
        name_missing(contents.one_run(asked)?);
        return Ok(vec![format!("{}: {n_volume} volumes", out.display())]);
    }
    if let Some(dataset) = &args.bids {
        let images = bids::export(contents, asked, dataset, force, &mut progress)?;
        contents.with_volumes(asked)?.into_iter().for_each(name_missing);
        return Ok(images.iter().map(|image| image.display().to_string()).collect());
    }
    let out = args.jsonl.as_ref().expect("clap asks for one of the three");
    let n_line = lines::export(contents, args.topic, asked, out, force)?;
    Ok(vec![format!("{}: {n_line} lines", out.display())])
}

fn name_missing(run: &RunContents) {
    let missing = run.missing();
    if !missing.is_empty() {
        tracing::warn!(
            run = %run.run.name,
            "{} volumes are missing and written as zeros: {}", missing.len(), ranges(&missing)
        );
    }
}

/// Indices as ranges, e.g. `3, 7-9`.
fn ranges(indices: &[u32]) -> String {
    let groups = indices.chunk_by(|a, b| a + 1 == *b);
    let texts = groups.filter_map(|group| match (group.first()?, group.last()?) {
        (first, last) if first == last => Some(first.to_string()),
        (first, last) => Some(format!("{first}-{last}")),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: ExportArgs,
    }

    #[test]
    fn exactly_one_format_has_to_be_chosen() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("x a.mcap").is_err());
        assert!(parse("x a.mcap --nifti a.nii --jsonl b").is_err());
        assert!(parse("x a.mcap --bids d --topic run").is_err());
        assert_eq!(parse("x a.mcap --jsonl b --topic all").unwrap().args.topic, Topic::All);
    }

    #[test]
    fn neighbours_are_named_as_a_range() {
        assert_eq!(ranges(&[3, 7, 8, 9]), "3, 7-9");
    }
}
