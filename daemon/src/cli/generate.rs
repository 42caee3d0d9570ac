//! `corticast generate`: a worker that makes clips for a daemon, on this or another machine.
//!
//! The worker reads the same configuration as the daemon (`model` and `generator`, with its own
//! paths), so that both make the same clips; the daemon refuses other settings. A worker makes one
//! clip at a time. After a restart of the daemon, it sends its greeting again.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use bytes::Bytes;
use corticast_models::{error::ModelError, manifest::Manifest, runtime::environment::load_runtime};
use corticast_wire::{
    heartbeat::HEARTBEAT,
    socket::{ClientSecurity, Dealer, Limits},
    work::{Failed, FromWorker, Hello, Job, MadeHeader, MadePictures, ToWorker, WORK_PROTOCOL},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::ConfigArgs;
use crate::{
    exit::Exit,
    generate::{
        dispatch::conditions_of,
        maker::{ClipError, ClipMaker, MadeClip},
    },
    plan::clips::ClipPlan,
};

/// A number that no job has.
const NO_JOB: u64 = u64::MAX;

const EXAMPLES: &str = "Examples:
  corticast generate --config site.toml --connect tcp://127.0.0.1:5564
  corticast generate --config site.toml --connect tcp://daemon:5564 \\
      --key worker.key --server-key daemon.pub --set generator.device=cuda

The daemon needs `workers = \"tcp://…\"` in [generator]. Model, video networks and [generator]
must be the same on both sides; device and threads may differ.";

/// Makes clips for a daemon on this or another machine.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The daemon's endpoint for workers
    #[arg(long, value_name = "ENDPOINT")]
    connect: String,
    /// Name of this worker in clips and messages [default: host and process]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The worker's key file, for a daemon on another machine
    #[arg(long, requires = "server_key", value_name = "FILE.key")]
    key: Option<PathBuf>,
    /// The daemon's public key file
    #[arg(long, requires = "key", value_name = "FILE.pub")]
    server_key: Option<PathBuf>,
}

/// Runs the command until a signal ends it.
///
/// # Errors
///
/// Fails when the configuration is invalid, a network cannot be loaded, or the daemon refuses the
/// worker.
pub fn run(args: &GenerateArgs) -> anyhow::Result<Exit> {
    let config = args.config.load(&[])?;
    let dir = config.model.dir.as_deref().context("a worker needs `dir` in [model]")?;
    let model = Manifest::read(dir)
        .map_err(ModelError::from)
        .map_err(crate::plan::error::PlanError::from)?;
    let plan =
        ClipPlan::make(&config.generator, &model).map_err(crate::plan::error::PlanError::from)?;
    let plan = plan.context("a worker needs `mode` in [generator]")?;
    // The daemon decides which conditions are similar, because a worker does not see every job.
    let plan = ClipPlan { skip_similar: 0.0, ..plan };
    let (files, settings) = (plan.identity(), plan.settings());
    let maker = ClipMaker::open(plan).map_err(crate::plan::error::PlanError::from)?;
    let provider = maker.provider().to_string();
    let runtime = load_runtime().map_or_else(|_| "none".to_owned(), |info| info.version);
    let hello = Hello {
        protocol: WORK_PROTOCOL,
        name: args.name.clone().unwrap_or_else(default_name),
        files,
        settings,
        made_with: format!(
            "corticast {}, ONNX Runtime {runtime}, {provider}",
            env!("CARGO_PKG_VERSION")
        ),
    };
    tracing::info!(worker = hello.name, provider, steps = maker.n_step(), "networks ready");
    let security = match (&args.key, &args.server_key) {
        (Some(own), Some(server)) => ClientSecurity::from_files(own, server)?,
        _ => ClientSecurity::None,
    };
    super::runtime()?.block_on(work(args, &security, hello, maker))
}

fn default_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

/// The number of a job, and its clip or the reason for failing and whether it was dropped.
type Done = (u64, Result<MadeClip, (String, bool)>);

async fn work(
    args: &GenerateArgs,
    security: &ClientSecurity,
    hello: Hello,
    maker: ClipMaker,
) -> anyhow::Result<Exit> {
    let dealer = Dealer::connect(&args.connect, security, &Limits::default()).await?;
    let (jobs, waiting) = mpsc::channel(1);
    let (done, mut results) = mpsc::channel(1);
    let given_up = Arc::new(AtomicU64::new(NO_JOB));
    let thread = start(maker, waiting, done, Arc::clone(&given_up))?;
    let hello = FromWorker::Hello(hello).to_frames();
    dealer.send(hello.clone()).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut every = interval(HEARTBEAT);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_welcome = false;
    let mut said_hello = Instant::now();
    // The job in progress.
    let mut current = None;
    loop {
        tokio::select! {
            message = dealer.recv() => match ToWorker::parse(&message?) {
                Ok(ToWorker::Welcome) => {
                    if !std::mem::replace(&mut is_welcome, true) {
                        tracing::info!(daemon = dealer.endpoint(), "waiting for work");
                    }
                }
                Ok(ToWorker::Refused(refused)) => {
                    let endpoint = dealer.endpoint();
                    anyhow::bail!("the daemon at {endpoint} refuses this worker: it {}", refused.reason);
                }
                Ok(ToWorker::Job(job, tensors)) => {
                    let id = job.id;
                    // The daemon gives a worker one job at a time. A second one comes from a daemon
                    // that lost track of this worker.
                    if jobs.try_send((job, tensors)).is_ok() {
                        current = Some(id);
                    } else {
                        let failed = Failed { id, reason: "busy".to_owned(), dropped: false };
                        dealer.send(FromWorker::Failed(failed).to_frames()).await?;
                    }
                }
                Ok(ToWorker::Drop(job)) => given_up.store(job.id, Ordering::Relaxed),
                // The daemon may ask again before our answer arrives.
                Ok(ToWorker::Who) if said_hello.elapsed() < HEARTBEAT => {}
                Ok(ToWorker::Who) => {
                    said_hello = Instant::now();
                    dealer.send(hello.clone()).await?;
                }
                Ok(ToWorker::Ping) => {}
                Err(error) => tracing::warn!(%error, "cannot read a message from the daemon"),
            },
            Some(done) = results.recv() => {
                current = None;
                dealer.send(answer(done).to_frames()).await?;
            }
            _ = every.tick() => {
                // The daemon may not be running; the next heartbeat tries again.
                let sent = dealer.send(FromWorker::Ping.to_frames()).await;
                if let Err(error) = sent {
                    tracing::debug!(%error, "the daemon does not answer");
                }
            }
            _ = terminate.recv() => break,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                break;
            }
        }
    }
    if let Some(id) = current {
        // Otherwise the daemon would wait for the heartbeat to time out.
        let failed = Failed { id, reason: "the worker was stopped".to_owned(), dropped: false };
        dealer.send(FromWorker::Failed(failed).to_frames()).await.ok();
    }
    given_up.store(NO_JOB - 1, Ordering::Relaxed);
    drop(jobs);
    drop(results);
    tokio::task::spawn_blocking(move || thread.join()).await?.ok();
    tracing::info!("stopped");
    Ok(Exit::Fine)
}

/// The thread that makes clips.
fn start(
    mut maker: ClipMaker,
    mut jobs: mpsc::Receiver<(Job, Bytes)>,
    done: mpsc::Sender<Done>,
    given_up: Arc<AtomicU64>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
        while let Some((job, tensors)) = jobs.blocking_recv() {
            let id = job.id;
            let conditions = conditions_of(&job, tensors);
            let goes_on = |_| {
                let given_up = given_up.load(Ordering::Relaxed);
                given_up != id && given_up != NO_JOB - 1
            };
            let made = match maker.make(&conditions, goes_on) {
                Ok(Some(made)) => {
                    let took_ms = made.took_ns / 1_000_000;
                    tracing::info!(run = job.run, volume = job.index, took_ms, "clip made");
                    Ok(made)
                }
                Ok(None) => Err(("no clip was made".to_owned(), false)),
                Err(ClipError::Model(ModelError::Cancelled)) => Err(("dropped".to_owned(), true)),
                Err(error) => {
                    let gave_up = matches!(error, ClipError::Model(ModelError::Run(_)));
                    tracing::warn!(run = job.run, volume = job.index, "{error}");
                    if gave_up {
                        match maker.fall_back_to_still() {
                            Ok(true) => tracing::error!("clips are blurry frames from now on"),
                            Ok(false) => {}
                            Err(error) => tracing::error!("{error}"),
                        }
                    }
                    Err((error.to_string(), false))
                }
            };
            if done.blocking_send((id, made)).is_err() {
                return;
            }
        }
    })
}

fn answer((id, made): Done) -> FromWorker {
    match made {
        Ok(made) => {
            let pictures = made.pictures;
            let n_blurry = pictures.n_blurry();
            let header = MadeHeader {
                id,
                mode: made.mode.name().to_owned(),
                steps: made.steps as u32,
                seed: made.seed,
                caption: made.caption,
                caption_cut: made.caption_cut,
                took_ns: made.took_ns,
                n_frame: made.n_frame as u32,
                edge: made.edge as u32,
                n_blurry: n_blurry as u32,
                blurry_edge: pictures.blurry_edge as u32,
                mask_edge: pictures.mask_edge as u32,
            };
            let pictures = MadePictures {
                frames: pictures.frames,
                blurry: pictures.blurry,
                mask: pictures.mask,
            };
            FromWorker::Made(header, pictures)
        }
        Err((reason, dropped)) => FromWorker::Failed(Failed { id, reason, dropped }),
    }
}
