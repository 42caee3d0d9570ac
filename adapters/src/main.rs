//! `corticast-adapter`: takes volumes from a scanner, or from what stands in for one, to the
//! daemon.
//!
//! Exit codes: 0 everything is acknowledged, 1 failed or refused, 2 bad arguments, 3 the runs
//! are over but volumes were lost.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use corticast_adapter::{
    adapter::ScannerAdapter,
    bids::{BidsAdapter, BidsOptions},
    dicom::{DicomAdapter, DicomOptions},
    dump::Dump,
    nifti::{NiftiAdapter, NiftiOptions},
    pace::Pace,
    publish::{PublishOptions, publish},
    synthetic::{SyntheticOptions, SyntheticScanner, faults::Faults, write::write_runs},
};
use corticast_wire::socket::ClientSecurity;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{signal, sync::watch};
use tracing_subscriber::{filter::Targets, prelude::*};

const EXAMPLES: &str = "\
Examples:
  A recorded run, in real time, then ten times faster, then as fast as acknowledged:
    corticast-adapter nifti run-01/bold.nii.gz --events run-01/events.tsv
    corticast-adapter nifti run-01/bold.nii.gz --speed 10
    corticast-adapter nifti run-01/bold.nii.gz run-02/bold.nii.gz --speed 0
  One run of a BIDS dataset, with its TR and its events:
    corticast-adapter bids ds000117 --sub 01 --task facerecognition --run 1
  A simulated scanner that loses volumes 3 and 7 and sends 9 twice; and its runs as files:
    corticast-adapter synthetic --drop 3,7 --duplicate 9 --speed 5
    corticast-adapter synthetic --seed 100 --write train --runs 4
  A Siemens scanner that exports mosaics into a folder:
    corticast-adapter dicom /mnt/export --sub 01 --task movie
  What is in a folder, as a file in RAS+, without a daemon:
    corticast-adapter dicom /mnt/export --once --dump run.nii.gz
  To a daemon on another machine:
    corticast-adapter dicom /mnt/export --connect tcp://10.0.0.2:5560 \\
        --key adapter.key --server-key daemon.pub

Exit codes: 0 everything acknowledged, 1 failed or refused, 2 bad arguments,
3 the runs are over but volumes were lost.";

/// Takes volumes from a scanner to the Corticast daemon
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Source {
    /// NIfTI-1 files: 4-D, or folders of 3-D volumes
    Nifti(NiftiOptions),
    /// One run of a BIDS dataset
    Bids(BidsOptions),
    /// A folder into which a Siemens scanner exports mosaics
    Dicom(DicomOptions),
    /// A simulated scanner: known stimuli, responses and faults
    Synthetic(Synthetic),
}

#[derive(Debug, clap::Args)]
struct Synthetic {
    #[command(flatten)]
    options: SyntheticOptions,
    /// Send nothing: write runs as .nii.gz, with events.tsv and a mask, into this folder
    #[arg(long, value_name = "FOLDER", help_heading = "Files")]
    write: Option<PathBuf>,
    /// Runs to write; their seeds count up from --seed
    #[arg(long, value_name = "NUMBER", default_value = "1", requires = "write",
        help_heading = "Files", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
}

/// Where volumes go. The same for every source.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// Endpoint of the daemon [default: tcp://127.0.0.1:5560; none with --dump]
    #[arg(long, global = true, value_name = "ENDPOINT", env = "CORTICAST_CONNECT")]
    connect: Option<String>,
    /// 1 is real time, 10 ten times faster, 0 as fast as acknowledged; a watched folder keeps
    /// its own time
    #[arg(long, global = true, value_name = "FACTOR", default_value = "1", value_parser = pace)]
    speed: Pace,
    /// Write what is sent, in RAS+; further runs get their name added. Alone, needs no daemon
    #[arg(long, global = true, value_name = "OUT.nii.gz")]
    dump: Option<PathBuf>,
    /// Take what is there, in order of acquisition, duplicates dropped, and end
    #[arg(long, global = true)]
    once: bool,
    /// Our key file, for a daemon on another machine
    #[arg(long, global = true, value_name = "FILE", requires = "server_key")]
    key: Option<PathBuf>,
    /// The daemon's public key file
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    server_key: Option<PathBuf>,
    /// Unacknowledged volumes kept in memory; further ones go to disk
    #[arg(long, global = true, value_name = "VOLUMES", default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..=4096))]
    window: u16,
    /// Disk space for volumes that wait for the daemon
    #[arg(long, global = true, value_name = "GB", default_value = "4",
        value_parser = clap::value_parser!(u16).range(0..=1000))]
    spill_max_gb: u16,
    /// How long a finished run waits for a daemon that does not answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60",
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    patience_s: u32,
    /// Write the log as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
}

fn pace(text: &str) -> Result<Pace, String> {
    Pace::from_speed(text.parse().map_err(|_| "expected a number".to_owned())?)
}

fn main() -> ExitCode {
    let Cli { source, output } = Cli::parse();
    log_to_stderr(output.log_json);
    match run(source, output) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", corticast_adapter::explain::explain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(source: Source, output: Output) -> anyhow::Result<ExitCode> {
    if let Source::Synthetic(Synthetic { options, write: Some(folder), runs }) = &source {
        write_runs(options, folder, *runs)?;
        tracing::info!(runs, folder = %folder.display(), "runs written");
        return Ok(ExitCode::SUCCESS);
    }
    let watched = matches!(source, Source::Dicom(_)) && !output.once;
    let mut adapter = open(source, &output)?;
    if let Some(path) = &output.dump {
        let dump = Dump::new(adapter, path);
        if output.connect.is_none() {
            let volumes = dump.drain()?;
            anyhow::ensure!(volumes > 0, "there was no volume to write");
            tracing::info!(volumes, "done");
            return Ok(ExitCode::SUCCESS);
        }
        adapter = Box::new(dump);
    }
    let pace = if watched { Pace::Scanner } else { output.speed };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(send(adapter, &output, pace));
    // The adapter's thread may wait for a scanner that says nothing; nobody waits for it.
    runtime.shutdown_timeout(Duration::from_millis(600));
    code
}

fn open(source: Source, output: &Output) -> anyhow::Result<Box<dyn ScannerAdapter>> {
    Ok(match source {
        Source::Nifti(options) => Box::new(NiftiAdapter::open(options)?),
        Source::Bids(options) => Box::new(BidsAdapter::open(options)?),
        Source::Synthetic(Synthetic { mut options, .. }) => {
            if output.once {
                options.faults = Faults {
                    late: Vec::new(),
                    late_probability: 0.0,
                    duplicate: Vec::new(),
                    duplicate_probability: 0.0,
                    ..options.faults
                };
            }
            Box::new(SyntheticScanner::open(options)?)
        }
        Source::Dicom(options) => {
            Box::new(DicomAdapter::open(DicomOptions { once: output.once, ..options })?)
        }
    })
}

async fn send(
    adapter: Box<dyn ScannerAdapter>,
    output: &Output,
    pace: Pace,
) -> anyhow::Result<ExitCode> {
    let security = match (&output.key, &output.server_key) {
        (Some(own), Some(server)) => ClientSecurity::from_files(own, server)?,
        _ => ClientSecurity::None,
    };
    let defaults = PublishOptions::default();
    let options = PublishOptions {
        endpoint: output.connect.clone().unwrap_or(defaults.endpoint),
        security,
        limits: defaults.limits,
        pace,
        skip_known: pace != Pace::Scanner,
        window: output.window.into(),
        spill_max_bytes: u64::from(output.spill_max_gb) << 30,
        patience: Duration::from_secs(output.patience_s.into()),
        progress: progress_bar(),
    };
    let progress = options.progress.clone();
    let report = publish(adapter, options, stop_on_signals()?).await;
    progress.finish_and_clear();
    let report = report?;
    tracing::info!(
        runs = report.n_runs,
        acked = report.n_acked,
        skipped = report.n_skipped,
        resent = report.n_resent,
        "done"
    );
    if report.is_complete() {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::error!(
        "{} volumes were lost and {} were never acknowledged",
        report.n_lost,
        report.n_unacked
    );
    Ok(ExitCode::from(3))
}

/// Becomes true with the first SIGINT or SIGTERM; the second ends the process.
fn stop_on_signals() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())
        .context("cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if stop.send_replace(true) {
                std::process::exit(1);
            }
        }
    });
    Ok(stopped)
}

/// Drawn on stderr; not at all when that is no terminal.
fn progress_bar() -> ProgressBar {
    let template = "{msg} {wide_bar} {pos}/{len} volumes acknowledged, {elapsed}";
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    ProgressBar::new(0).with_style(style)
}

/// The levels are those of `RUST_LOG`, else `info`, as `target=level` pairs.
fn log_to_stderr(json: bool) {
    let levels = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = levels.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = if json { log.json().boxed() } else { log.boxed() };
    tracing_subscriber::registry().with(log.with_filter(levels)).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_without_the_daemons_is_a_bad_argument() {
        let error = Cli::try_parse_from(["x", "nifti", "a.nii", "--key", "k"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(Cli::try_parse_from(["x", "synthetic", "--speed", "-1"]).is_err());
    }
}
