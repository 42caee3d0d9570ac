//! The `corticast` command.

use std::{
    io::{IsTerminal, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use corticast::{
    cli::{
        check, ctl, demo, export, generate, keygen, motion, prepare, recover, replay, report, run,
        sham,
    },
    config::{ConfigError, wire::TrustError},
    exit::Exit,
    offline::{export::error::ExportError, files::FilesError, prepare::error::PrepareError},
    plan::error::PlanError,
};
use corticast_wire::text::{explain, short_numbers};
use tracing_subscriber::{filter::Targets, prelude::*};

/// Real-time fMRI: volumes in, decoded feedback out, everything recorded.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
}

const EXAMPLES: &str = "Examples:
  corticast demo --seconds 20
  corticast check --config site.toml --model models/demo
  corticast run --config site.toml --record session.mcap --results results.jsonl
  corticast replay --config site.toml --run session.mcap --results again.jsonl
  corticast replay --config site.toml --run session.mcap --film film.mp4
  corticast prepare --config site.toml --run bold.nii.gz,events.tsv --out prepared
  corticast export session.mcap --bids dataset
  corticast motion bold.nii.gz --out motion.tsv
  corticast report session.mcap --out reports
  corticast recover session.mcap
  corticast ctl status

Exit codes: 0 fine, 1 failed, 2 bad arguments, 3 run finished but volumes were lost,
78 bad configuration, model or mask.
The log goes to standard error; RUST_LOG sets its level.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulated scanner, daemon and shipped model in one command
    Demo(demo::DemoArgs),
    /// Run the daemon
    Run(run::RunArgs),
    /// Replay recorded runs
    Replay(replay::ReplayArgs),
    /// Make clips for a daemon elsewhere
    Generate(generate::GenerateArgs),
    /// Make training data from recorded runs
    Prepare(prepare::PrepareArgs),
    /// Check configuration, model and mask without starting
    Check(check::CheckArgs),
    /// Export a recording: NIfTI, BIDS, JSON lines
    Export(export::ExportArgs),
    /// Estimate the motion of a run
    Motion(motion::MotionArgs),
    /// Report on each run of a recording: a page and JSON
    Report(report::ReportArgs),
    /// Repair a recording that was cut
    Recover(recover::RecoverArgs),
    /// Command a running daemon
    Ctl(ctl::CtlArgs),
    /// Make the files of a study with sham feedback
    Sham(sham::ShamArgs),
    /// Make keys for connections off this machine
    Keygen(keygen::KeygenArgs),
}

/// Keeps ONNX Runtime from reporting to its maker. Published builds for Linux do (seen in 1.32.0): they
/// keep a number of this machine in the home folder and send events to the internet. They begin when
/// the library is loaded, so the switch of its API comes too late.
#[allow(unsafe_code, reason = "the environment is the only switch that works")]
fn without_telemetry() {
    // SAFETY: no other thread has been started, so none can read the environment meanwhile.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

fn main() -> ExitCode {
    without_telemetry();
    let cli = Cli::parse();
    // The demo shows a live table, which log lines would break.
    let default = if matches!(cli.command, Command::Demo(_)) { "warn" } else { "info,ort=warn" };
    log_to_stderr(cli.log_json, default);
    let result = match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Prepare(args) => prepare::run(args),
        Command::Check(args) => check::run(args),
        Command::Export(args) => export::run(args),
        Command::Motion(args) => motion::run(args),
        Command::Report(args) => report::run(args),
        Command::Recover(args) => recover::run(args),
        Command::Ctl(args) => ctl::run(args),
        Command::Sham(args) => sham::run(args),
        Command::Keygen(args) => keygen::run(args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            let text = short_numbers(&explain(&*error));
            // Standard error may be closed, too; the exit code still says it.
            writeln!(std::io::stderr().lock(), "error: {text}").ok();
            exit_of(&error).into()
        }
    }
}

/// Starts logging with the levels of `RUST_LOG`, else `default`, as `target=level` pairs.
fn log_to_stderr(json: bool, default: &str) {
    let levels = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = levels.unwrap_or_else(|| default.parse().expect("the default levels are valid"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = if json { log.json().boxed() } else { log.with_target(false).boxed() };
    tracing_subscriber::registry().with(log.with_filter(levels)).init();
}

/// The exit code for an error.
fn exit_of(error: &anyhow::Error) -> Exit {
    let is_configuration = error.downcast_ref::<ConfigError>().is_some()
        || error.downcast_ref::<TrustError>().is_some()
        || error.downcast_ref::<PlanError>().is_some()
        || matches!(error.downcast_ref::<PrepareError>(), Some(PrepareError::Plan(_)));
    let is_argument = error.downcast_ref::<FilesError>().is_some()
        || matches!(error.downcast_ref::<PrepareError>(), Some(PrepareError::Files(_)))
        || matches!(error.downcast_ref::<ExportError>(), Some(ExportError::Files(_)));
    if is_argument {
        return Exit::BadArguments;
    }
    if is_configuration { Exit::BadConfiguration } else { Exit::Failed }
}
