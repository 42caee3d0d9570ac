//! `corticast demo`: a simulated scanner, the daemon and the shipped model in one command.
//!
//! Nothing is cut short: the scanner speaks over ZeroMQ, the daemon records, publishes and
//! serves metrics, as it would beside a real scanner.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use corticast_adapter::{
    adapter::Event,
    pace::Pace,
    publish::{PublishOptions, publish},
    synthetic::{SyntheticOptions, SyntheticScanner},
};
use metrics::Counter;
use tokio::sync::{oneshot, watch};

use super::ConfigArgs;
use crate::{
    config::Overlay,
    exit::Exit,
    outputs::queue::{Drain, drop_oldest},
    plan::Plan,
    product::{DecodedResult, Product},
    service::{self, ServiceOptions},
};

/// How much faster than the TR the simulated scanner runs.
const SPEED: f64 = 4.0;
/// Results that may wait to be shown.
const SHOWN_QUEUE: usize = 1024;
/// Width of a probability bar, in characters.
const BAR: usize = 24;
/// Classes that are shown of a model that has many: the most probable ones.
const SHOWN_CLASSES: usize = 8;

/// Runs a simulated session with the shipped model.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Configuration file [default: configs/demo.toml of the installation]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long it takes
    #[arg(long, value_name = "N", default_value = "60",
        value_parser = clap::value_parser!(u32).range(5..=3600))]
    seconds: u32,
    /// No live table, only the summary
    #[arg(long)]
    headless: bool,
    /// Folder for what the session writes
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// Seed of the simulated run
    #[arg(long, default_value = "1")]
    seed: u64,
}

/// What the demo counts.
#[derive(Default)]
struct Tally {
    n_result: u32,
    n_in_block: u32,
    n_right: u32,
    n_class: usize,
    latencies_ms: Vec<f64>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the installation lacks the model, or a socket or a file cannot be had.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let config = match &args.config {
        Some(config) => config.clone(),
        None => installed("configs/demo.toml").context(
            "configs/demo.toml is not found here or beside the program; run the demo from the \
             project's folder, or name it with --config",
        )?,
    };
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    let (recording, results) = (args.out.join("session.mcap"), args.out.join("results.jsonl"));
    // A session is taken up where its recording ends; a demo starts anew.
    if recording.exists() {
        std::fs::remove_file(&recording)
            .with_context(|| format!("cannot replace {}", recording.display()))?;
    }
    let config_args = ConfigArgs { config: config.clone(), model: None, set: Vec::new() };
    let plan = Plan::make(config_args.load(&[
        Overlay::from_path("--out", "recording", "file", &recording),
        Overlay::from_path("--out", "recording", "results", &results),
    ])?)?;

    let options = SyntheticOptions { seed: args.seed, ..SyntheticOptions::default() };
    let n_volumes = (f64::from(args.seconds) * SPEED / options.tr).round().max(1.0);
    let scanner =
        SyntheticScanner::open(SyntheticOptions { volumes: n_volumes as u32, ..options })?;
    let truth = corticast_adapter::adapter::ScannerAdapter::events(&scanner).to_vec();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let exit = super::runtime()?.block_on(session(plan, scanner, truth, args, &tally))?;

    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    summary(&tally, &config, &recording, &results);
    Ok(exit)
}

async fn session(
    plan: Plan,
    scanner: SyntheticScanner,
    truth: Vec<Event>,
    args: &DemoArgs,
    tally: &Arc<Mutex<Tally>>,
) -> anyhow::Result<Exit> {
    let (shown, products) = drop_oldest(SHOWN_QUEUE, Counter::noop());
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (_keep, scanner_stop) = watch::channel(false);
    let options = ServiceOptions {
        ready: Some(ready),
        stop: Some(stopped),
        watch: Some(shown),
        ..ServiceOptions::default()
    };
    let is_live = !args.headless && std::io::stdout().is_terminal();
    let shower = tokio::spawn(show(products, truth, Arc::clone(tally), is_live, args.headless));
    let scanning = tokio::spawn(async move {
        // Gone without a word when the daemon could not start, which it says itself.
        let Ok(endpoints) = is_ready.await else { return Ok(None) };
        println!(
            "simulated scanner → {} · results {} · metrics {}/metrics",
            endpoints.adapter, endpoints.publish, endpoints.http
        );
        let options = PublishOptions {
            endpoint: endpoints.adapter,
            pace: Pace::Clock(SPEED),
            ..PublishOptions::default()
        };
        let report = publish(Box::new(scanner), options, scanner_stop).await.map(Some);
        // The daemon may have been stopped by a signal before.
        stop.send(()).ok();
        report
    });
    let exit = service::run(plan, options).await?;
    shower.await?;
    scanning.abort();
    match scanning.await {
        Ok(report) => {
            if let Some(report) = report?
                && !report.is_complete()
            {
                return Ok(Exit::VolumesLost);
            }
        }
        Err(aborted) if aborted.is_cancelled() => {}
        Err(panicked) => return Err(panicked.into()),
    }
    Ok(exit)
}

/// Shows results as they come and counts them.
async fn show(
    products: Drain<Product>,
    truth: Vec<Event>,
    tally: Arc<Mutex<Tally>>,
    is_live: bool,
    is_quiet: bool,
) {
    let mut n_line = 0;
    while let Some(product) = products.next().await {
        let Product::Result(result) = product else { continue };
        let time_s = result.stimulus_time_s;
        let shown = truth
            .iter()
            .find(|event| (event.onset_s..event.onset_s + event.duration_s).contains(&time_s))
            .map(|event| event.trial_type.as_str());
        let best = result.concepts.best().map(|(name, _)| name.to_owned());
        let text = {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.n_result += 1;
            tally.n_class = result.concepts.names.len();
            if let Some(shown) = shown {
                tally.n_in_block += 1;
                tally.n_right += u32::from(best.as_deref() == Some(shown));
            }
            let latency_ns = result.published_ns.saturating_sub(result.received_ns);
            tally.latencies_ms.push(latency_ns as f64 / 1e6);
            match (is_live, is_quiet) {
                (true, _) => table(&result, shown, &tally),
                (false, false) => line(&result, shown),
                (false, true) => continue,
            }
        };
        let mut out = std::io::stdout().lock();
        let up = if is_live && n_line > 0 { format!("\x1b[{n_line}A") } else { String::new() };
        n_line = text.lines().count();
        // A closed terminal is no reason to stop the session.
        write!(out, "{up}{text}").and_then(|()| out.flush()).ok();
    }
}

/// One result as a table of bars; every line clears what stood there before.
fn table(result: &DecodedResult, shown: Option<&str>, tally: &Tally) -> String {
    let mut text = format!(
        "\x1b[2K{}  volume {:>4}  stimulus at {:>6.1} s: {}\n",
        result.run,
        result.index.0,
        result.stimulus_time_s,
        shown.unwrap_or("(rest)")
    );
    let best = result.concepts.best().map(|(name, _)| name);
    let mut classes: Vec<_> = result.concepts.names.iter().zip(&result.concepts.values).collect();
    if classes.len() > SHOWN_CLASSES {
        classes.sort_by(|a, b| b.1.total_cmp(a.1));
        classes.truncate(SHOWN_CLASSES);
    }
    for (name, &value) in classes {
        let filled = (f64::from(value) * BAR as f64).round() as usize;
        let mark = if best == Some(name.as_str()) { "◀" } else { " " };
        text += &format!(
            "\x1b[2K  {name:>12} {}{} {value:.2} {mark}\n",
            "█".repeat(filled),
            "·".repeat(BAR.saturating_sub(filled)),
        );
    }
    if let Some(caption) = &result.caption {
        text += &format!("\x1b[2K  “{caption}”\n");
    }
    text + &format!(
        "\x1b[2K  latency {:.2} ms, right in {} of {} volumes of a block\n",
        tally.latencies_ms.last().unwrap_or(&0.0),
        tally.n_right,
        tally.n_in_block
    )
}

/// One result as one line, for logs.
fn line(result: &DecodedResult, shown: Option<&str>) -> String {
    let (best, value) = result.concepts.best().unwrap_or(("", 0.0));
    let caption = result.caption.as_ref().map(|text| format!("  “{text}”")).unwrap_or_default();
    format!(
        "volume {:>4}  stimulus at {:>6.1} s  shown {:<8} decoded {best:<8} {value:.2}{caption}\n",
        result.index.0,
        result.stimulus_time_s,
        shown.unwrap_or("(rest)"),
    )
}

fn summary(tally: &Tally, config: &Path, recording: &Path, results: &Path) {
    let mut latencies = tally.latencies_ms.clone();
    latencies.sort_by(f64::total_cmp);
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or(0.0);
    println!();
    println!(
        "{} results; {} of {} volumes inside blocks decoded right (chance 1 in {}); \
         median latency {median:.2} ms",
        tally.n_result, tally.n_right, tally.n_in_block, tally.n_class
    );
    println!("  recording  {}", recording.display());
    println!("  results    {}", results.display());
    println!(
        "replay it: corticast replay --config {} --run {} --results again.jsonl",
        config.display(),
        recording.display()
    );
}

/// A file of the installation: below the working directory, the program's folder, or a folder
/// above one of them.
fn installed(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let starts = here.iter().map(PathBuf::as_path).chain(program.iter().map(PathBuf::as_path));
    let found = starts.flat_map(Path::ancestors).map(|folder| folder.join(name));
    let found = found.into_iter().find(|file| file.is_file())?;
    // Shorter to read where the program is run from the project's folder.
    let relative = here.and_then(|here| found.strip_prefix(here).ok().map(Path::to_owned));
    Some(relative.unwrap_or(found))
}
