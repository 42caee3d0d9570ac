//! `corticast motion`: the motion parameters of a run.

use std::path::PathBuf;

use anyhow::Context as _;
use corticast_wire::files::apart::Kind;

use super::{advance, volume_bar};
use crate::{
    exit::Exit,
    offline::{
        files::Files,
        motion::{MotionOptions, motion},
        source::Source,
    },
};

const EXAMPLES: &str = "Examples:
  corticast motion bold.nii.gz --out motion.tsv
  corticast motion session.mcap --run sub-01_task-movie_run-1 --out motion.tsv
  corticast motion bold.nii.gz --reference first_session.nii.gz --smooth 5 --out motion.tsv

The table has one row for each volume: the rigid transform that takes it to the reference, the first
volume unless another is named. trans_x trans_y trans_z in mm along right, anterior and superior,
rot_x rot_y rot_z in radians about the scanner's origin. docs/conventions.md tells how to convert it
for other packages.";

/// Writes the motion parameters of a run.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct MotionArgs {
    /// The run: .nii[.gz], a folder of volumes, a BIDS run, or a recording (.mcap)
    #[arg(value_name = "BOLD")]
    bold: String,
    /// The table to write
    #[arg(long, value_name = "FILE.tsv")]
    out: PathBuf,
    /// Repetition time of an image in seconds [default: from the sidecar, else the header]
    #[arg(long, value_name = "SECONDS")]
    tr: Option<f64>,
    /// Name of the run [default: the first]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Image of one volume that all are realigned to [default: the first volume]
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Smooth each realigned volume, with this full width at half maximum in mm; its time counts
    #[arg(long, value_name = "MM")]
    smooth: Option<f64>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the run cannot be read or realigned, when no volume has an estimate, or when the table
/// cannot be written.
pub fn run(args: &MotionArgs) -> anyhow::Result<Exit> {
    let options = MotionOptions {
        run: args.run.clone(),
        reference: args.reference.clone(),
        smooth_mm: args.smooth,
    };
    let source = Source::parse(&args.bold, args.tr);
    let mut files = Files::default();
    files.source(&source);
    args.reference.iter().for_each(|path| files.input("the reference", path));
    files.output("--out", Some(&args.out), Kind::Stream);
    files.check()?;
    let bar = volume_bar("realign");
    let found = motion(&source, &options, &mut |expected| advance(&bar, expected));
    bar.finish_and_clear();
    let found = found?;
    std::fs::write(&args.out, found.to_tsv())
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    let ms = |share: f64| found.time(share).unwrap_or_default().as_secs_f64() * 1e3;
    super::print_line(&format!(
        "{}: {} volumes, {} without a converged estimate; median {:.1} ms, p99 {:.1} ms per volume",
        found.run,
        found.volumes.len(),
        found.n_not_converged(),
        ms(0.5),
        ms(0.99),
    ))?;
    anyhow::ensure!(
        found.volumes.iter().any(Option::is_some),
        "no volume of {} has an estimate, so each row of {} is n/a; volumes that are empty, constant \
         or not finite cannot be realigned",
        found.run,
        args.out.display()
    );
    Ok(Exit::Fine)
}
