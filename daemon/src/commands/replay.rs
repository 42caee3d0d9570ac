//! `corticast replay`: recorded sessions and images through the same code as live.

use std::path::PathBuf;

use anyhow::Context;

use super::{ConfigArgs, advance, volume_bar};
use crate::{
    clock::monotonic_ns,
    config::Overlay,
    exit::Exit,
    ingest::Recorded,
    metrics::Metrics,
    outputs::{json_lines::JsonLines, tensors::ConditionsFolder},
    plan::Plan,
    product::Product,
    record::{Recorder, RecordingFile},
    recording::{COMMAND, SESSION},
    replay::{Fed, Player, Source, packed},
    session::Session,
};

/// Replays recorded runs through the same signal path and model.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What to replay: .mcap, .nii[.gz] or a BIDS run, with its events; may be given several times
    #[arg(long = "run", required = true, value_name = "BOLD[,EVENTS]")]
    runs: Vec<String>,
    /// 1 is real time, 10 ten times faster, 0 as fast as possible
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    speed: f64,
    /// Record the replay
    #[arg(long, value_name = "OUT.mcap")]
    record: Option<PathBuf>,
    /// Write results as JSON lines [default: standard output]
    #[arg(long, value_name = "OUT.jsonl")]
    results: Option<PathBuf>,
    /// Write what a generator is given into this new folder: RUN/000012.safetensors and so on
    #[arg(long, value_name = "DIR")]
    conditions: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the configuration, a run or an output cannot be used.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        args.speed.is_finite() && args.speed >= 0.0,
        "--speed must be 0 or more, got {}",
        args.speed
    );
    let flags =
        args.record.iter().map(|path| Overlay::from_path("--record", "recording", "file", path));
    let config = args.config.load(&flags.collect::<Vec<_>>())?;
    let plan = Plan::make(config)?;
    let sources: Vec<Source> = args.runs.iter().map(|run| Source::parse(run)).collect();
    let description = crate::describe::session(&plan, "replay");
    let metrics = Metrics::new();
    let (admission, signal) = (plan.admission(), plan.config.signal.clone());
    // Only what was asked for on this command line: a replay must not touch the recording that
    // the file names.
    let recorder = args.record.as_deref().map(|path| {
        anyhow::ensure!(
            !path.exists(),
            "{} exists; a replay records into a new file",
            path.display()
        );
        let file = RecordingFile::open(path, |_| {})?;
        let durability = plan.config.recording.durability;
        let alarm = |message: String| tracing::error!("{message}");
        Ok(Recorder::start(file, durability, Recorded::default(), metrics.clone(), |_| {}, alarm)?)
    });
    let recorder = recorder.transpose()?;
    if let Some((recorder, _)) = &recorder {
        recorder.note(SESSION, monotonic_ns(), description.to_string());
    }
    anyhow::ensure!(
        args.conditions.is_none() || plan.conditions_bytes() > 0,
        "--conditions: only a `neurons` model gives conditions, and there is none"
    );
    let conditions = args.conditions.as_deref().map(ConditionsFolder::create).transpose()?;
    let records_conditions = plan.config.recording.conditions;
    let path = plan.into_path(metrics.clone(), monotonic_ns)?;
    let decodes = path.decodes();
    let session = Session::new(path, signal.resequence_volumes, metrics, monotonic_ns);
    let mut player = Player::new(session, admission, signal.content_duplicates, args.speed);
    let mut results = args.results.as_deref().map(JsonLines::create).transpose()?;

    let bar = volume_bar("replay");
    let mut failed = None;
    let mut log = |fed: &Fed, at_ns: u64| {
        let Some((recorder, _)) = &recorder else { return };
        match fed {
            Fed::Message(_) => {
                // Refused only once recording has failed, which its thread reports.
                let _recorded = recorder.message_blocking(at_ns, packed(fed));
            }
            Fed::Command(_) => recorder.note(COMMAND, at_ns, packed(fed)),
        }
    };
    let mut out = |product: Product| {
        match &product {
            Product::Status(status) => tracing::warn!("{}", status.message),
            Product::Result(_) => {
                let written = match &mut results {
                    Some(results) => results.deliver(&product).map_err(anyhow::Error::from),
                    None => {
                        bar.suspend(|| println!("{}", product.to_json()));
                        Ok(())
                    }
                };
                failed = failed.take().or(written.err());
            }
            Product::Conditions(_) => {
                let written = conditions.iter().try_for_each(|folder| folder.deliver(&product));
                failed = failed.take().or(written.err().map(anyhow::Error::from));
            }
            _ => {}
        }
        let is_recorded = records_conditions || !matches!(product, Product::Conditions(_));
        if let Some((recorder, _)) = &recorder
            && is_recorded
        {
            recorder.note(product.topic(), monotonic_ns(), product.to_recorded());
        }
    };
    for source in &sources {
        player.play(source, &mut log, &mut out, &mut |expected| advance(&bar, expected))?;
    }
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(results) = &mut results {
        results.flush()?;
    }
    if let Some((recorder, thread)) = recorder {
        drop(recorder);
        thread.join().context("the replay ran, but its recording is not whole")?;
    }
    if !decodes {
        tracing::warn!("no model was given: volumes were checked, nothing was decoded");
    }
    let (_, session) = player.into_parts();
    Ok(if session.n_lost() > 0 { Exit::VolumesLost } else { Exit::Fine })
}
