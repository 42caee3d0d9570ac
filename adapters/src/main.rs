//! `corticast-adapter`: takes volumes from a scanner, a simulated scanner or files to the daemon.
//!
//! Exit codes: 0 all volumes acknowledged, 1 failed or refused, 2 bad arguments, 3 the runs are
//! over but volumes or marks were lost or a scanner's run was refused.

mod command_line;
mod repeated;

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use corticast_adapter::{
    adapter::ScannerAdapter,
    afni::{self, AfniOptions},
    dicom::{DicomAdapter, DicomOptions},
    doctor::{self, DoctorOptions, Heard},
    mrd::{self, MrdOptions},
    murfi::{self, MurfiOptions},
    network::RunOptions,
    parrec::{self, ParRecOptions},
    publish::{PublishOptions, pace::Pace, publish, triggers::Triggers},
    pyneal::{self, PynealOptions},
    session_state::{self, SessionState},
    store::{self, Spool, StoreOptions},
    synthetic::{SyntheticScanner, faults::Faults, write::write_runs},
    trigger::{self, restore_terminal},
};
use corticast_images::{bids::BidsAdapter, dump::Dump, nifti::NiftiAdapter};
use corticast_wire::{
    files::apart::NotApart,
    socket::ClientSecurity,
    text::{count, explain},
};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    signal::{self, unix::SignalKind},
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing_subscriber::{
    filter::{FilterExt, Targets},
    prelude::*,
};

use self::{
    command_line::{Cli, Output, Source, Synthetic},
    repeated::{PERIOD, Repeated},
};

/// The process ends this long after a signal, whatever it still waits for.
const STOP_DEADLINE: Duration = Duration::from_secs(25);

/// A source that was told to end delivers what it holds within this time.
const HAND_OVER: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let Cli { source, output } = Cli::parse();
    let heard = Heard::default();
    let is_doctor = matches!(source, Source::Doctor(_));
    let repeated = log_to_stderr(output.log_json, is_doctor.then(|| heard.clone()));
    let reports = repeated.clone();
    let tell = move || loop {
        std::thread::park_timeout(PERIOD);
        reports.report(false);
    };
    // Without this thread the counts are logged at the end only.
    std::thread::Builder::new().name("log".to_owned()).spawn(tell).ok();
    let code = run(source, output, &heard).unwrap_or_else(|error| {
        tracing::error!("{}", explain(&*error));
        match error.downcast_ref::<NotApart>() {
            Some(_) => ExitCode::from(2),
            None => ExitCode::FAILURE,
        }
    });
    repeated.report(true);
    restore_terminal();
    code
}

fn run(source: Source, output: Output, heard: &Heard) -> anyhow::Result<ExitCode> {
    if let Source::Synthetic(Synthetic { options, write: Some(folder), runs }) = &source {
        write_runs(options, folder, *runs)?;
        tracing::info!(runs, folder = %folder.display(), "runs written");
        return Ok(ExitCode::SUCCESS);
    }
    if let Source::Doctor(options) = &source {
        return examine(options, heard);
    }
    output.check_dump(&source)?;
    let is_live = source.is_live(output.once);
    let sends = output.dump.is_none() || output.connect.is_some();
    let state = if sends { state_of(&source, &output)? } else { SessionState::lost_at_exit()? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before anything is made that a signal must remove.
    let stopped = {
        let _within = runtime.enter();
        stop_on_signals(sends.then_some(STOP_DEADLINE))?
    };
    // Removed when this function returns: the adapter's thread may outlive it.
    let spool = match &source {
        Source::Store(options) => Some(Spool::new(&options.dicom.folder)?),
        _ => None,
    };
    let mut adapter = open(source, &output, &state, spool.as_ref())?;
    let refused = adapter.refused();
    let mut end_of_dump = None;
    if let Some(path) = &output.dump {
        let dump = Dump::new(adapter, path);
        if !sends {
            anyhow::ensure!(
                output.triggers.trigger.is_none(),
                "--trigger needs a daemon (--connect): a file of volumes has no marks"
            );
            runtime.block_on(write(dump, stopped))?;
            return Ok(worse_if_refused(ExitCode::SUCCESS, refused.as_deref()));
        }
        end_of_dump = Some(dump.end());
        adapter = Box::new(dump);
    }
    let triggers = listen_for_triggers(&output, is_live)?;
    let pace = if is_live { Pace::Scanner } else { output.speed };
    let code = runtime.block_on(send(adapter, &output, pace, triggers, state, stopped));
    // The adapter's thread may still wait for a silent scanner, so the program does not join it.
    if let Some(end) = end_of_dump {
        end.finish()?;
    }
    runtime.shutdown_timeout(Duration::from_millis(600));
    Ok(worse_if_refused(code?, refused.as_deref()))
}

/// Writes the volumes to a file without sending them, until there are no more or a signal comes.
async fn write(dump: Dump, mut stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (end, stopper) = (dump.end(), dump.stopper());
    let (done, mut drained) = oneshot::channel();
    let drain = move || done.send(dump.drain()).ok();
    std::thread::Builder::new().name("scanner".to_owned()).spawn(drain)?;
    let volumes = tokio::select! {
        drained = &mut drained => drained.context("the adapter's thread has ended early")??,
        _ = stopped.wait_for(|stop| *stop) => {
            let mut rest = None;
            if let Some(stop) = stopper {
                stop();
                rest = timeout(HAND_OVER, &mut drained).await.ok().and_then(Result::ok);
            }
            // The adapter's thread may still wait for a silent scanner.
            rest.unwrap_or_else(|| end.finish())?
        }
    };
    anyhow::ensure!(volumes > 0, "the source delivered no volume to write");
    tracing::info!(volumes, "done");
    Ok(())
}

/// Listens for the scanner's triggers, if the command line names their source.
fn listen_for_triggers(output: &Output, is_live: bool) -> anyhow::Result<Option<Triggers>> {
    let Some(source) = &output.triggers.trigger else { return Ok(None) };
    anyhow::ensure!(
        is_live || output.speed == Pace::Clock(1.0),
        "--trigger needs volumes at the pace of a scanner: a watched folder or a network adapter, \
         or a file with --speed 1"
    );
    let listening = trigger::listen(source, &output.triggers).context("--trigger")?;
    Ok(Some(Triggers::new(listening, output.triggers.trigger_dummies)))
}

/// The exit code of a program that went well, unless its source refused something.
fn worse_if_refused(code: ExitCode, refused: Option<&AtomicU64>) -> ExitCode {
    let n_refused = refused.map_or(0, |refused| refused.load(Ordering::Relaxed));
    if n_refused == 0 || code != ExitCode::SUCCESS {
        return code;
    }
    let images = count(n_refused, "image");
    tracing::error!("refused or lost: {images} or senders of them; the warnings say why");
    ExitCode::from(3)
}

/// Prints the doctor's page on a folder or a port.
fn examine(options: &DoctorOptions, heard: &Heard) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // The first signal ends listening, and the page is printed.
    let (sender, stop) = crossbeam::channel::bounded(1);
    let mut stopped = runtime.block_on(async { stop_on_signals(Some(STOP_DEADLINE)) })?;
    runtime.spawn(async move {
        if stopped.wait_for(|stop| *stop).await.is_ok() {
            sender.send(()).ok();
        }
    });
    let examined = doctor::examine(options, heard, &stop)?;
    let page =
        if options.json { serde_json::to_string_pretty(&examined.json)? } else { examined.text };
    println!("{}", page.trim_end());
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(if examined.is_usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(
    source: Source,
    output: &Output,
    state: &SessionState,
    spool: Option<&Spool>,
) -> anyhow::Result<Box<dyn ScannerAdapter>> {
    let named = |run: &RunOptions| RunOptions { state: Some(state.clone()), ..run.clone() };
    Ok(match source {
        Source::Nifti(options) => Box::new(NiftiAdapter::open(options.into())?),
        Source::Bids(options) => Box::new(BidsAdapter::open(options.into())?),
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
        Source::Doctor(_) => anyhow::bail!("the doctor sends nothing"),
        Source::Dicom(options) => {
            let (once, state) = (output.once, Some(state.clone()));
            Box::new(DicomAdapter::open(DicomOptions { once, state, ..options })?)
        }
        Source::Store(options) => {
            let state = Some(state.clone());
            let dicom = DicomOptions { state, ..options.dicom };
            let spool = spool.context("the spool folder is made before the adapter")?;
            Box::new(store::open(StoreOptions { dicom, ..options }, spool)?)
        }
        Source::Afni(options) => {
            Box::new(afni::open(AfniOptions { run: named(&options.run), ..options })?)
        }
        Source::Mrd(options) => {
            Box::new(mrd::open(MrdOptions { run: named(&options.run), ..options })?)
        }
        Source::Murfi(options) => {
            Box::new(murfi::open(MurfiOptions { run: named(&options.run), ..options })?)
        }
        Source::Pyneal(options) => {
            Box::new(pyneal::open(PynealOptions { run: named(&options.run), ..options })?)
        }
        Source::Parrec(options) => Box::new(parrec::open(ParRecOptions {
            run: named(&options.run),
            once: output.once,
            ..options
        })?),
    })
}

/// The state of this session. Without a writable folder for it, a restarted adapter begins a new run.
fn state_of(source: &Source, output: &Output) -> anyhow::Result<SessionState> {
    let key = source.session_key();
    if let Some(folder) = &output.state {
        return SessionState::of_session(folder, key)
            .with_context(|| format!("cannot keep the session's state in {}", folder.display()));
    }
    let Some(folder) = session_state::default_folder() else {
        tracing::warn!("no HOME and no --state: a restarted adapter will begin a new run");
        return Ok(SessionState::lost_at_exit()?);
    };
    SessionState::of_session(&folder, key).or_else(|error| {
        tracing::warn!(
            folder = %folder.display(), %error,
            "cannot keep the session's state: a restarted adapter will begin a new run; give a \
             folder with --state"
        );
        Ok(SessionState::lost_at_exit()?)
    })
}

async fn send(
    adapter: Box<dyn ScannerAdapter>,
    output: &Output,
    pace: Pace,
    triggers: Option<Triggers>,
    state: SessionState,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<ExitCode> {
    let security = match (&output.key, &output.server_key) {
        (Some(own), Some(server)) => ClientSecurity::from_files(own, server)?,
        _ => ClientSecurity::None,
    };
    let defaults = PublishOptions::new(state);
    let options = PublishOptions {
        endpoint: output.connect.clone().unwrap_or(defaults.endpoint),
        security,
        limits: defaults.limits,
        pace,
        skip_known: pace != Pace::Scanner,
        window: output.window.into(),
        spill_max_bytes: (output.spill_max_gb * f64::from(1 << 30)) as u64,
        patience: Duration::from_secs(output.patience_s.into()),
        progress: progress_bar(),
        state: defaults.state,
    };
    let progress = options.progress.clone();
    let report = publish(adapter, options, triggers, stopped).await;
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
        "lost: {} and {}; never acknowledged: {}; refused: {}",
        count(report.n_lost, "volume"),
        count(report.n_lost_marks, "mark"),
        count(report.n_unacked, "volume"),
        count(report.n_refused.into(), "run"),
    );
    Ok(ExitCode::from(3))
}

/// A flag that the first SIGINT, SIGTERM or SIGHUP sets. The second signal ends the process at once,
/// and so does `patience` after the first.
fn stop_on_signals(patience: Option<Duration>) -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let listen = |kind, name| {
        signal::unix::signal(kind).with_context(|| format!("cannot listen for {name}"))
    };
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut hang_up = listen(SignalKind::hangup(), "SIGHUP")?;
    tokio::spawn(async move {
        let mut deadline = None;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hang_up.recv() => "SIGHUP",
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    tracing::error!(
                        "not stopped within {} s of the signal: sending still waits for the socket",
                        patience.unwrap_or_default().as_secs()
                    );
                    restore_terminal();
                    std::process::exit(1);
                }
            };
            if stop.send_replace(true) {
                tracing::error!("{name} again: ending at once");
                restore_terminal();
                std::process::exit(1);
            }
            tracing::info!("{name}: stopping; a second signal ends the adapter at once");
            deadline = patience.map(|patience| Instant::now() + patience);
        }
    });
    Ok(stopped)
}

/// A progress bar on stderr; hidden when stderr is not a terminal.
fn progress_bar() -> ProgressBar {
    let template = "{msg} {wide_bar} {pos}/{len} volumes acknowledged, {elapsed}";
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    ProgressBar::new(0).with_style(style)
}

/// Sets up logging. `RUST_LOG` gives the levels as `target=level` pairs; the default is `info`.
/// Returns the counts of the warnings that were left out. `heard` gets what the doctor asks for.
fn log_to_stderr(json: bool, heard: Option<Heard>) -> Repeated {
    let repeated = Repeated::default();
    let levels = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = levels.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = if json { log.json().boxed() } else { log.boxed() };
    let filter = levels.and(repeated.clone());
    let ours = Targets::new().with_target("corticast", tracing::Level::DEBUG);
    let heard = heard.map(|heard| heard.with_filter(ours));
    tracing_subscriber::registry().with(log.with_filter(filter)).with(heard).init();
    repeated
}
