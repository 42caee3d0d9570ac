//! `corticast demo`: runs adapter, daemon and shipped model on the shipped session in one command.
//!
//! Nothing is faked: `corticast-adapter` runs as a separate process and sends the volumes over
//! ZeroMQ; the daemon records, publishes and serves metrics, as it would beside a real scanner.
//! The session is shipped with the model, in `session`; the model was not trained on it.

mod film;
mod picture;
mod show;

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, IsTerminal, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use metrics::Counter;
use tokio::sync::oneshot;

use self::{
    film::Film,
    show::{Tally, line, table},
};
use super::ConfigArgs;
use crate::{
    config::Overlay,
    exit::Exit,
    outputs::folder::free_name,
    plan::Plan,
    product::Product,
    queue::drop_oldest::{Drain, drop_oldest},
    service::{self, options::ServiceOptions},
};

/// Speed of the simulated scanner, relative to real time.
const SPEED: f64 = 2.0;
/// Most results and clips that wait to be shown.
const SHOWN_QUEUE: usize = 256;
/// Folder of the session within the model's folder.
const SESSION: &str = "session";
/// File of the clips that the participant saw in the session.
const CLIPS: &str = "clips.jsonl";
/// The program that sends the session.
const ADAPTER: &str = "corticast-adapter";
/// Exit code of the adapter when volumes were lost.
const ADAPTER_LOST_VOLUMES: i32 = 3;
/// Number of lines from the end of the adapter's log that are shown when it failed.
const LOG_LINES: usize = 20;

/// Runs the shipped session with the shipped model.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Configuration file [default: configs/demo.toml of the installation]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Longest duration in seconds; the shipped session takes about a minute
    #[arg(long, value_name = "N", default_value = "60",
        value_parser = clap::value_parser!(u32).range(5..=3600))]
    seconds: u32,
    /// Print only the summary, without the live table
    #[arg(long)]
    headless: bool,
    /// Folder for the files of the session
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the installation lacks the model, a socket cannot be bound, or a file cannot be
/// written.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let config = match &args.config {
        Some(config) => config.clone(),
        None => installed("configs/demo.toml").context(
            "cannot find configs/demo.toml here or beside the program; run the demo in the \
             project's folder, or give the file with --config",
        )?,
    };
    let (recording, results) = (args.out.join("session.mcap"), args.out.join("results.jsonl"));
    let clips = args.out.join("film.mp4");
    let config_args = ConfigArgs { config: config.clone(), model: None, set: Vec::new() };
    let plan = Plan::make(config_args.load(&[
        Overlay::from_path("--out", "recording", "file", &recording),
        Overlay::from_path("--out", "recording", "results", &results),
        Overlay::from_path("--out", "outputs", "film", &clips),
    ])?)?;

    let decoder = plan.decoder.as_ref().context("the demo needs `dir` in [model]")?;
    let model = decoder.manifest();
    let tr_s = model.signal.repetition_time.as_secs();
    let folder = model.dir.join(SESSION);
    let film = Arc::new(Film::read(&folder.join(CLIPS), tr_s)?);
    let n_volumes = (f64::from(args.seconds) * SPEED / tr_s).round().max(1.0);
    let scanner = scanner(&folder, n_volumes as u32)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    // The daemon would continue an existing recording; a demo starts a new one.
    for file in [&recording, &results, &clips].into_iter().filter(|file| file.exists()) {
        std::fs::rename(file, free_name(file))
            .with_context(|| format!("cannot move {} away", file.display()))?;
    }
    let tally = Arc::new(Mutex::new(Tally::default()));
    let exit = super::runtime()?.block_on(session(plan, scanner, &film, args, &tally))?;

    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    super::print_line("")?;
    super::print_line(&tally.summary(&film))?;
    super::print_line(&format!("  recording  {}", recording.display()))?;
    super::print_line(&format!("  results    {}", results.display()))?;
    // A session without clips leaves no film.
    if clips.exists() {
        super::print_line(&format!("  film       {}", clips.display()))?;
    }
    super::print_line(&format!(
        "replay it: corticast replay --config {} --run {} --film again.mp4",
        config.display(),
        recording.display()
    ))?;
    Ok(exit)
}

/// The adapter's command line without the endpoint: sends the session in this folder, the first
/// `n_volumes` of each run.
///
/// # Errors
///
/// Fails when the folder holds no run or the adapter is not installed.
fn scanner(folder: &Path, n_volumes: u32) -> anyhow::Result<Command> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let names = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let ends_in = |end: &str| {
        let mut found: Vec<PathBuf> =
            names.iter().filter(|path| path.to_string_lossy().ends_with(end)).cloned().collect();
        found.sort();
        found
    };
    let (files, events) = (ends_in("_bold.nii.gz"), ends_in("_events.tsv"));
    anyhow::ensure!(!files.is_empty(), "{} holds no *_bold.nii.gz", folder.display());
    let mut command = Command::new(adapter_program()?);
    command.arg("nifti").args(files);
    for file in events {
        command.arg("--events").arg(file);
    }
    command.args(["--session", "demo"]);
    command.args(["--speed", &SPEED.to_string(), "--volumes", &n_volumes.to_string()]);
    // In a separate process group, so that Ctrl-C reaches only this process, which then ends the
    // adapter.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    Ok(command)
}

/// The adapter beside this program, else the first one in `PATH`.
fn adapter_program() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(ADAPTER));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(ADAPTER));
    beside.into_iter().chain(in_path).find(|program| program.is_file()).with_context(|| {
        format!("no `{ADAPTER}` beside this program or in PATH; build it with `make binaries`")
    })
}

/// The running adapter. Dropping this kills it.
struct Running(Child);

impl Running {
    /// Waits for the adapter to end. Returns its status and the last lines of its log, which is not
    /// printed meanwhile because it would garble the live table.
    async fn end(mut self) -> anyhow::Result<(ExitStatus, String)> {
        let log = self.0.stderr.take().context("the log of the adapter is not captured")?;
        // Reading ends with the process, because only the process holds the pipe's other end.
        let last_lines = tokio::task::spawn_blocking(move || {
            let mut last = VecDeque::with_capacity(LOG_LINES);
            for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
                if last.len() == LOG_LINES {
                    last.pop_front();
                }
                last.push_back(String::from_utf8_lossy(&line).into_owned());
            }
            Vec::from(last).join("\n")
        });
        let log = last_lines.await?;
        Ok((self.0.wait()?, log))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killing fails when the adapter has ended already.
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

async fn session(
    plan: Plan,
    mut scanner: Command,
    film: &Arc<Film>,
    args: &DemoArgs,
    tally: &Arc<Mutex<Tally>>,
) -> anyhow::Result<Exit> {
    let (shown, products) = drop_oldest(SHOWN_QUEUE, Counter::noop());
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let options = ServiceOptions {
        ready: Some(ready),
        stop: Some(stopped),
        watch: Some(shown),
        ..ServiceOptions::default()
    };
    let is_live = !args.headless && std::io::stdout().is_terminal();
    let shower =
        tokio::spawn(show(products, Arc::clone(film), Arc::clone(tally), is_live, args.headless));
    let scanning = tokio::spawn(async move {
        // The sender is dropped when the daemon cannot start; the daemon reports why.
        let Ok(endpoints) = is_ready.await else { return Ok(None) };
        super::print_line(&format!(
            "recorded scans → {} · results {} · metrics {}/metrics",
            endpoints.adapter, endpoints.publish, endpoints.http
        ))?;
        let running = scanner.arg("--connect").arg(endpoints.adapter).spawn();
        let ended = match running.with_context(|| format!("cannot start {ADAPTER}")) {
            Ok(child) => Running(child).end().await.map(Some),
            Err(error) => Err(error),
        };
        // A signal may have stopped the daemon already.
        stop.send(()).ok();
        ended
    });
    let exit = service::run(plan, options).await?;
    shower.await?;
    scanning.abort();
    let ended = match scanning.await {
        Ok(ended) => ended?,
        Err(aborted) if aborted.is_cancelled() => None,
        Err(panicked) => return Err(panicked.into()),
    };
    match ended {
        Some((status, _)) if status.success() => Ok(exit),
        Some((status, log)) if status.code() == Some(ADAPTER_LOST_VOLUMES) => {
            eprintln!("{log}");
            Ok(Exit::VolumesLost)
        }
        Some((status, log)) => anyhow::bail!("{ADAPTER} failed ({status}):\n{log}"),
        None => Ok(exit),
    }
}

/// Shows results and clips as they arrive, and counts them.
async fn show(
    products: Drain<Product>,
    film: Arc<Film>,
    tally: Arc<Mutex<Tally>>,
    is_live: bool,
    is_quiet: bool,
) {
    let mut n_line = 0;
    let (mut last, mut pictures) = (None, Vec::new());
    while let Some(product) = products.next().await {
        let text = {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match &product {
                Product::Result(result) => {
                    let shown = film.at(result.stimulus_time_s);
                    tally.add(result, shown);
                    last = Some(result.clone());
                }
                Product::Clip(clip) => {
                    tally.add_clip(clip);
                    if is_live {
                        pictures = picture::lines(clip);
                    }
                }
                _ => continue,
            }
            let Some(result) = &last else { continue };
            let shown = film.at(result.stimulus_time_s);
            match (is_live, is_quiet, &product) {
                (true, ..) => table(result, shown, &pictures, &tally),
                (false, false, Product::Result(result)) => line(result, shown),
                _ => continue,
            }
        };
        let mut out = std::io::stdout().lock();
        let up = if is_live && n_line > 0 { format!("\x1b[{n_line}A") } else { String::new() };
        n_line = text.lines().count();
        // A closed terminal is no reason to stop the session.
        write!(out, "{up}{text}").and_then(|()| out.flush()).ok();
    }
}

/// Finds a file of the installation below the working directory, the program's folder, or a parent
/// of one of them.
fn installed(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let starts = here.iter().map(PathBuf::as_path).chain(program.iter().map(PathBuf::as_path));
    let found = starts.flat_map(Path::ancestors).map(|folder| folder.join(name));
    let found = found.into_iter().find(|file| file.is_file())?;
    // A relative path is easier to read in the printed commands.
    let relative = here.and_then(|here| found.strip_prefix(here).ok().map(Path::to_owned));
    Some(relative.unwrap_or(found))
}
