//! `corticast replay`: runs recorded sessions and images through the code of the live daemon.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use bytes::Bytes;
use corticast_wire::files::apart::Kind as FileKind;
use indicatif::ProgressBar;

use super::{ConfigArgs, advance, print_line, volume_bar};
use crate::{
    clock::{monotonic_ns, wall_ns},
    config::{Config, OutputsConfig, Overlay},
    exit::Exit,
    generate::maker::ClipMaker,
    intake::recorded::Recorded,
    metrics::Metrics,
    offline::{
        files::{Files, FilesError},
        replay::{Input, Player, packed},
        source::Source,
    },
    outputs::{
        conditions::ConditionsFolder,
        folder::check_empty,
        json_lines::JsonLines,
        pictures::{self, Sink},
    },
    plan::{Plan, error::PlanError},
    product::{Product, clips::ClipReport, results::ConditionsReport},
    recording::{
        belongs::RECORDING,
        compare::{difference, low_bits},
        file::{RecordingFile, check_new},
        format::{COMMAND, SESSION, WIRE},
        products::{RecordedProducts, recorded_entry},
        recorder::{Record, Recorder},
        room::Kind,
    },
    signal::{path::SignalPath, session::Session},
    supervise::Supervisor,
};

/// Replays recorded runs through the same signal path and model.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A run: .mcap, .nii[.gz] or a BIDS run, with its events; may be given several times
    #[arg(long = "run", required = true, value_name = "BOLD[,EVENTS]")]
    runs: Vec<String>,
    /// Repetition time of images in seconds [default: from the sidecar, else the header]
    #[arg(long, value_name = "SECONDS")]
    tr: Option<f64>,
    /// 1 is real time, 10 ten times faster, 0 as fast as possible
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    speed: f64,
    /// Record the replay
    #[arg(long, value_name = "OUT.mcap")]
    record: Option<PathBuf>,
    /// Write results as JSON lines [default: standard output]
    #[arg(long, value_name = "OUT.jsonl")]
    results: Option<PathBuf>,
    /// Replace an existing file of results, once the replay is complete
    #[arg(long, requires = "results")]
    overwrite: bool,
    /// Write the input of a generator into this new folder: RUN/000012.safetensors and so on
    #[arg(long, value_name = "DIR")]
    conditions: Option<PathBuf>,
    /// Film of the clips, with captions and concepts (needs `mode` in [generator])
    #[arg(long, value_name = "OUT.mp4")]
    film: Option<PathBuf>,
    /// Write each clip as an animated picture into this new folder: RUN/000012.webp and so on
    #[arg(long, value_name = "DIR")]
    webp: Option<PathBuf>,
    /// Write the pictures of each clip into this new folder: RUN/000012/00.png and so on
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the configuration is invalid, a run cannot be read, or an output cannot be written.
pub fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        args.speed.is_finite() && args.speed >= 0.0,
        "--speed must be 0 or more, got {}",
        args.speed
    );
    let flags =
        args.record.iter().map(|path| Overlay::from_path("--record", "recording", "file", path));
    let mut config = args.config.load(&flags.collect::<Vec<_>>())?;
    // Only the outputs of this command line: a replay must not overwrite the outputs that a live
    // session with the same configuration file has written.
    config.outputs = args.outputs();
    let sources: Vec<Source> = args.runs.iter().map(|run| Source::parse(run, args.tr)).collect();
    args.check_files(&config, &sources)?;
    let mut plan = Plan::make(config)?;
    let description = crate::plan::describe::session(&plan, "replay");
    let metrics = Metrics::new();
    let (admission, signal) = (plan.admission(), plan.config.signal.clone());
    // Nothing is created until every input and every output is known to be good.
    for (source, run) in sources.iter().zip(&args.runs) {
        let Some(recorded) = source.check(&admission)? else { continue };
        if let Some(reason) = difference(&recorded, &description) {
            tracing::warn!(
                "{run} was recorded {reason}; the results differ from the recorded ones"
            );
        }
        for different in low_bits(&recorded, &description) {
            tracing::warn!("{run} was recorded with another {different}; last bits may differ");
        }
    }
    anyhow::ensure!(
        args.conditions.is_none() || plan.conditions_bytes() > 0,
        "--conditions needs a model that gives conditions; configure a `neurons` model"
    );
    // A replay waits for each clip, so it makes clips itself even if workers are configured.
    let clips = plan.clips.take().map(ClipMaker::open).transpose().map_err(PlanError::from)?;
    let (outputs, records) =
        (plan.config.outputs.clone(), RecordedProducts::of(&plan.config.recording));
    let durability = plan.config.recording.durability;
    let path = SignalPath::of(plan, metrics.clone(), monotonic_ns)?;
    args.check_outputs()?;
    let recorder = args.record.as_deref().map(|path| {
        let file = RecordingFile::open(path)?;
        let alarm = |message: String| tracing::error!("{message}");
        // Nobody waits for the end of the thread but this command, at its own end.
        let guard = Supervisor::new().0.guard("recorder");
        let (recorded, metrics) = (Recorded::default(), metrics.clone());
        anyhow::Ok(Recorder::start(file, durability, recorded, metrics, |_| {}, alarm, guard)?)
    });
    let (recorder, recording) = recorder.transpose()?.unzip();
    if let Some(recorder) = &recorder {
        let mut description = description;
        description[RECORDING] =
            format!("{:016x}", wall_ns() ^ u64::from(std::process::id())).into();
        record(recorder, SESSION, monotonic_ns(), description.to_string().into());
    }
    let bar = volume_bar("replay");
    let results = args.results.as_deref();
    let results = results.map(|path| JsonLines::of_replay(path, args.overwrite));
    let stop = Arc::new(AtomicBool::new(false));
    let mut outputs = ReplayOutputs {
        results: results.transpose()?,
        conditions: args.conditions.as_deref().map(ConditionsFolder::create).transpose()?,
        pictures: pictures::create(&outputs)?,
        recorder: recorder.as_ref(),
        records,
        clips,
        bar: &bar,
        is_stdout_open: true,
        stop: Arc::clone(&stop),
        failed: None,
    };
    let decodes = path.decodes();
    let session = Session::new(path, signal.resequence_volumes, metrics, monotonic_ns);
    let mut player =
        Player::new(session, admission, signal.content_duplicates, args.speed).with_stop(stop);

    let mut log = |input: &Input, at_ns: u64| {
        let Some(recorder) = &recorder else { return };
        let topic = match input {
            Input::Message(_) => WIRE,
            Input::Command(_) => COMMAND,
        };
        record(recorder, topic, at_ns, packed(input));
    };
    for source in &sources {
        let mut out = |product| outputs.take(product);
        player.play(source, &mut log, &mut out, &mut |expected| advance(&bar, expected))?;
    }
    bar.finish_and_clear();
    outputs.finish()?;
    if let Some(recording) = recording {
        drop(recorder);
        recording.join().context("the replay finished, but its recording is incomplete")?;
    }
    if !decodes {
        tracing::warn!("no model is configured: volumes were checked but not decoded");
    }
    let (_, session) = player.into_parts();
    Ok(if session.n_lost() > 0 { Exit::VolumesLost } else { Exit::Fine })
}

/// Records an entry, and waits for room.
fn record(recorder: &Recorder, topic: &'static str, at_ns: u64, data: Bytes) {
    let record = Record { topic, at_ns, data: data.into(), kind: Kind::Control, ticket: None };
    // Fails only once recording has failed, which the recorder reports.
    recorder.record_blocking(record).ok();
}

impl ReplayArgs {
    /// Checks that the replay writes into no file that it reads, and into none twice.
    fn check_files(&self, config: &Config, sources: &[Source]) -> Result<(), FilesError> {
        let mut files = Files::default();
        files.config(&self.config.config, config);
        sources.iter().for_each(|source| files.source(source));
        files.records("--record", self.record.as_deref());
        files.output("--results", self.results.as_deref(), FileKind::Stream);
        files.output("--film", self.film.as_deref(), FileKind::File);
        for (flag, folder) in
            [("--conditions", &self.conditions), ("--webp", &self.webp), ("--png", &self.png)]
        {
            files.output(flag, folder.as_deref(), FileKind::NewFolder);
        }
        files.check()
    }

    /// Checks that no output exists already, before the first is created.
    fn check_outputs(&self) -> anyhow::Result<()> {
        let new = |path: &Option<PathBuf>, flag: &str| match path {
            Some(path) if path.exists() => {
                anyhow::bail!("{} exists; choose a new file for {flag}", path.display())
            }
            _ => Ok(()),
        };
        new(&self.record, "--record")?;
        self.record.iter().try_for_each(|record| check_new(record))?;
        new(&self.film, "--film")?;
        if let Some(results) = self.results.as_deref().filter(|_| !self.overwrite) {
            JsonLines::check_free(results)?;
        }
        for (what, folder) in
            [("conditions", &self.conditions), ("clips", &self.webp), ("pictures", &self.png)]
        {
            folder.iter().try_for_each(|folder| check_empty(what, folder))?;
        }
        Ok(())
    }

    fn outputs(&self) -> OutputsConfig {
        let (film, webp, png) = (self.film.clone(), self.webp.clone(), self.png.clone());
        OutputsConfig { film, webp, png, report: None }
    }
}

/// The outputs of a replay.
struct ReplayOutputs<'a> {
    results: Option<JsonLines>,
    conditions: Option<ConditionsFolder>,
    pictures: Vec<Box<dyn Sink>>,
    recorder: Option<&'a Recorder>,
    records: RecordedProducts,
    clips: Option<ClipMaker>,
    bar: &'a ProgressBar,
    is_stdout_open: bool,
    /// Stops the replay: nobody reads its results.
    stop: Arc<AtomicBool>,
    /// The first error of writing a file.
    failed: Option<anyhow::Error>,
}

impl ReplayOutputs<'_> {
    fn take(&mut self, product: Product) {
        let written = self.write(&product);
        self.failed = self.failed.take().or(written.err());
        if let Some(recorder) = self.recorder
            && self.records.includes(&product)
        {
            // Fails only once recording has failed, which the recorder reports.
            recorder.record_blocking(recorded_entry(&product, monotonic_ns())).ok();
        }
        if let Product::Conditions(conditions) = &product
            && let Some(clip) = self.clip(conditions)
        {
            self.take(Product::Clip(clip));
        }
    }

    fn write(&mut self, product: &Product) -> anyhow::Result<()> {
        match product {
            Product::Status(status) => tracing::warn!("{}", status.message),
            Product::Result(_) => match &mut self.results {
                Some(results) => results.deliver(product)?,
                None if !self.is_stdout_open => {}
                None => {
                    self.is_stdout_open = self.bar.suspend(|| print_line(&product.to_json()))?;
                    let is_last = self.recorder.is_none()
                        && self.conditions.is_none()
                        && self.pictures.is_empty();
                    if !self.is_stdout_open && is_last {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                }
            },
            Product::Conditions(_) => {
                self.conditions.iter().try_for_each(|folder| folder.deliver(product))?;
            }
            _ => {}
        }
        self.pictures.iter_mut().try_for_each(|sink| sink.deliver(product))
    }

    /// Makes the clip of conditions. A replay makes every clip, however long it takes.
    fn clip(&mut self, conditions: &ConditionsReport) -> Option<ClipReport> {
        let maker = self.clips.as_mut()?;
        let tr_s = maker.plan().repetition_time_s;
        match maker.make(conditions, |_| true) {
            Ok(made) => Some(made?.into_report(conditions, 0, tr_s, None, monotonic_ns())),
            Err(error) => {
                tracing::warn!("{}: {error}", conditions.index);
                None
            }
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(results) = self.results {
            results.finish()?;
        }
        self.pictures.into_iter().try_for_each(Sink::finish)
    }
}
