//! The service: sockets around a session.
//!
//! ```text
//!  adapter ROUTER ──► receive task ──ring──► signal thread ──► outputs (PUB, JSON lines, …)
//!       ▲               │    │                    │
//!       │ answers       │    └──► recorder thread ◄── products
//!       └───────────────┴── acknowledgements ◄──┘
//! ```
//!
//! Sockets are on tokio; the signal path has a thread of its own, fed by a ring, and waits for
//! nobody. When the ring is full (the model takes longer than a TR, for long) the receive task
//! stops reading: adapters keep what they have, nothing is lost, and
//! `corticast_signal_path_load_ratio` shows why. A restart with the same recording first takes
//! up the session from it.

mod commands;
mod http;
mod query;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Context;
use corticast_wire::{
    message::Durability,
    socket::{Limits, Publisher, Router},
};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock::monotonic_ns,
    exit::Exit,
    generate::{Clips, dispatch::Dispatcher, pace::Pace, thread as generator},
    intake::{answers::Answers, inbox::Inbox, ingest::Ingest, recorded::Recorded},
    metrics::{self, Metrics},
    outputs::{
        board::Board,
        fanout::Fanout,
        json_lines::JsonLines,
        pictures::{self, PictureThreads},
        publish, results,
    },
    plan::{Plan, describe},
    product::Product,
    queue::{
        drop_oldest::{Feeder, drop_oldest},
        latest::latest,
    },
    recording::{
        disk,
        format::SESSION,
        products::RecordedProducts,
        recorder::{Recorder, RecorderThread},
        restore,
    },
    signal::{path::SignalPath, session::Session, thread as signal_thread},
};

/// Products that wait for the PUB socket or the results file.
const OUTPUT_QUEUE: usize = 4096;
/// Conditions and clips that wait for the PUB socket; they are large, and old ones are of no use.
const LARGE_QUEUE: usize = 8;
/// Commands that wait for the receive task.
const COMMAND_QUEUE: usize = 16;

/// Where the daemon can be reached, with the ports it got.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    /// For scanner adapters.
    pub adapter: String,
    /// For everybody who watches.
    pub publish: String,
    /// For late joiners.
    pub query: String,
    /// For operators.
    pub control: String,
    /// For Prometheus.
    pub http: String,
    /// For workers that make clips, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<String>,
}

/// What a service is told besides its plan.
#[derive(Default)]
pub struct ServiceOptions {
    /// Written once all sockets are bound, for scripts that let the system choose the ports.
    pub endpoints_file: Option<PathBuf>,
    /// Told once all sockets are bound.
    pub ready: Option<oneshot::Sender<Endpoints>>,
    /// Stops the service like a signal does.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Sees every product, and drops its oldest when it is slow.
    pub watch: Option<Feeder<Product>>,
}

/// Runs a session until it is stopped. Needs a tokio runtime with several threads.
///
/// # Errors
///
/// Fails when a socket cannot be bound or a file cannot be written; once it runs, only when
/// the recording was lost.
pub async fn run(plan: Plan, mut options: ServiceOptions) -> anyhow::Result<Exit> {
    let clips = plan.clips.clone().map(|clips| Clips::open(clips, &plan.config.generator));
    let clips = clips.transpose()?;
    let prometheus = metrics::install().context("cannot set up metrics")?;
    let metrics = Metrics::new();
    let instance = format!("{:016x}", crate::clock::wall_ns() ^ u64::from(std::process::id()));
    let config = plan.config.clone();
    let description = describe::session(&plan, &instance);
    announce_model(&plan, clips.as_ref(), &metrics);
    let recorded = Recorded::default();
    let durability = match &config.recording.file {
        Some(_) => config.recording.durability,
        None => Durability::None,
    };
    let admission = plan.admission_with_disk_check(disk::free_bytes);
    let mut ingest = Ingest::new(
        admission,
        instance.clone(),
        durability,
        config.signal.content_duplicates,
        Arc::clone(&recorded),
    );
    let resequence = config.signal.resequence_volumes;
    let path = SignalPath::of(plan, metrics.clone(), monotonic_ns)?;
    let mut session = Session::new(path, resequence, metrics.clone(), monotonic_ns);

    // What was recorded before a restart comes first, so that nothing arrives meanwhile.
    let restored = config
        .recording
        .file
        .as_deref()
        .map(|file| restore::restore(file, &description, &mut ingest, &mut session, &recorded));
    let (file, restored) =
        restored.transpose()?.map_or((None, None), |r| (Some(r.file), Some(r.results)));

    let wire = &config.wire;
    let (security, control_security) = wire.security()?;
    let limits =
        Limits { max_message_bytes: (wire.max_message_mib as usize) << 20, ..Limits::default() };
    let adapters = Arc::new(Router::bind(&wire.adapter, &security, &limits).await?);
    let publisher = Publisher::bind(&wire.publish, &security, &Limits::default()).await?;
    let query = Router::bind(&wire.query, &security, &Limits::for_commands()).await?;
    let control = Router::bind(&wire.control, &control_security, &Limits::for_commands()).await?;
    let workers = match &config.generator.workers {
        Some(endpoint) if clips.is_some() => {
            Some(Router::bind(endpoint, &security, &limits).await?)
        }
        _ => None,
    };
    let http = tokio::net::TcpListener::bind(wire.http)
        .await
        .with_context(|| format!("cannot serve metrics on {}: is it in use?", wire.http))?;
    let endpoints = Endpoints {
        adapter: adapters.endpoint().to_owned(),
        publish: publisher.endpoint().to_owned(),
        query: query.endpoint().to_owned(),
        control: control.endpoint().to_owned(),
        http: format!("http://{}", http.local_addr()?),
        workers: workers.as_ref().map(|workers| workers.endpoint().to_owned()),
    };

    let board = Board::new(description.clone());
    let is_ready = Arc::new(AtomicBool::new(false));
    let (publish, published) = drop_oldest(OUTPUT_QUEUE, metrics.output_dropped("publish"));
    let (publish_large, large) = drop_oldest(LARGE_QUEUE, metrics.output_dropped("publish_large"));
    let publisher = Arc::new(publisher);
    let publishing = [published, large].map(|products| {
        tokio::spawn(publish::publish(Arc::clone(&publisher), products, board.clone()))
    });
    let (results, writing) = match &config.recording.results {
        Some(path) => {
            let file = JsonLines::create(path)?;
            let (feeder, drain) = drop_oldest(OUTPUT_QUEUE, metrics.output_dropped("results"));
            let earlier = restored.as_ref().map(|r| r.lines.clone()).unwrap_or_default();
            (Some(Arc::new(feeder)), Some(results::write(file, earlier, drain)?))
        }
        None => (None, None),
    };
    let (pictures, drawing) = PictureThreads::start(
        pictures::create(&pictures::with_free_names(&config.outputs))?,
        &metrics,
    )?;
    let mut fanout = Fanout {
        publish: Arc::new(publish),
        publish_large: Arc::new(publish_large),
        results,
        watch: options.watch.take().map(Arc::new),
        recorder: None,
        records: RecordedProducts::of(&config.recording),
        pictures,
        clips: None,
    };
    let (answers, answering) = Answers::start(Arc::clone(&adapters));
    let recording: Option<RecorderThread> = match file {
        Some(file) => {
            let (alarms, safe) = (fanout.clone(), answers.clone());
            let (recorder, thread) = Recorder::start(
                file,
                durability,
                Arc::clone(&recorded),
                metrics.clone(),
                move |ticket| safe.acknowledge(ticket),
                move |message| alarms.status("alarm", message),
            )?;
            recorder.note(SESSION, monotonic_ns(), description.to_string());
            fanout.recorder = Some(recorder);
            Some(thread)
        }
        None => None,
    };
    // What makes clips has a fanout of its own, from which none come back to it.
    let generating = match clips {
        Some(Clips::Here(maker)) => {
            let (mailbox, newest) = latest(metrics.conditions_superseded.clone());
            let (out, pace) = (fanout.clone(), Pace::of(&config.generator));
            let thread = generator::start(*maker, pace, newest, metrics.clone(), move |product| {
                out.deliver(product);
            })?;
            fanout.clips = Some(Arc::new(mailbox));
            Some(tokio::task::spawn_blocking(move || thread.join().is_ok()))
        }
        Some(Clips::Elsewhere(clips)) => {
            let (mailbox, newest) = latest(metrics.conditions_superseded.clone());
            let (out, pace) = (fanout.clone(), Pace::of(&config.generator));
            let workers = workers.context("workers are configured, so their socket is bound")?;
            let out = move |product| out.deliver(product);
            let dispatcher = Dispatcher::new(workers, *clips, pace, newest, metrics.clone(), out);
            fanout.clips = Some(Arc::new(mailbox));
            Some(tokio::spawn(async move {
                dispatcher.run().await;
                true
            }))
        }
        None => None,
    };
    for product in restored.map(|r| r.unpublished).unwrap_or_default() {
        fanout.deliver(product);
    }

    // Who joins late is told of a run that was taken up, too.
    if let Some(report) = session.open_run() {
        fanout.deliver(Product::Run(report));
    }
    let (is_paused, is_blanked) = (session.is_paused(), session.is_blanked());

    let (happenings, signal) = {
        let out = fanout.clone();
        signal_thread::start(session, move |product| out.deliver(product))?
    };
    let (commands, commanded) = mpsc::channel(COMMAND_QUEUE);
    let serving = [
        tokio::spawn(query::serve(query, board.clone())),
        tokio::spawn(commands::serve(control, commands)),
        tokio::spawn(http::serve(http, prometheus, Arc::clone(&is_ready))),
    ];
    is_ready.store(true, std::sync::atomic::Ordering::Release);
    say_ready(&endpoints, &mut options)?;

    let mut inbox = Inbox {
        adapters,
        ingest,
        instance,
        happenings,
        answers,
        fanout,
        metrics,
        commanded,
        peers: Default::default(),
        board,
        is_paused,
        is_blanked,
    };
    inbox.receive(options.stop.take()).await?;

    // Stopped: what is on its way is finished, in the order of the path.
    drop(inbox);
    let n_lost = tokio::task::spawn_blocking(move || signal.join()).await?;
    let n_lost = n_lost.map_err(|_| anyhow::anyhow!("the signal thread panicked"))?;
    if let Some(generating) = generating {
        anyhow::ensure!(generating.await?, "the generator thread panicked");
    }
    for publishing in publishing {
        publishing.await?;
    }
    tokio::task::spawn_blocking(move || drawing.join()).await?;
    if let Some(writing) = writing {
        tokio::task::spawn_blocking(move || writing.join()).await?.ok();
    }
    let recorded = match recording {
        Some(thread) => tokio::task::spawn_blocking(move || thread.join()).await?,
        None => Ok(()),
    };
    serving.iter().for_each(tokio::task::JoinHandle::abort);
    answering.abort();
    tracing::info!("stopped");
    recorded?;
    Ok(if n_lost > 0 { Exit::VolumesLost } else { Exit::Fine })
}

fn announce_model(plan: &Plan, clips: Option<&Clips>, metrics: &Metrics) {
    let Some(decoder) = &plan.decoder else {
        tracing::warn!("no model is configured: volumes are recorded, nothing is decoded");
        return;
    };
    let manifest = decoder.manifest();
    let provider = decoder.provider().to_string();
    tracing::info!(model = manifest.name, subject = manifest.subject, provider, "model ready");
    metrics.model(&manifest.subject, &manifest.name, &provider);
    match clips {
        Some(Clips::Here(maker)) => {
            let provider = maker.provider().to_string();
            let set = maker.plan().set.as_ref();
            let precision = set.map_or("none", |set| set.precision.name());
            let (mode, steps) = (maker.plan().options.mode, maker.n_step());
            tracing::info!(%mode, steps, precision, provider, "clips are made here");
            metrics.generator(mode.name(), precision, &provider);
        }
        Some(Clips::Elsewhere(plan)) => {
            tracing::info!(mode = %plan.options.mode, "clips are made by workers");
            metrics.generator(plan.options.mode.name(), "none", "workers");
        }
        None => {}
    }
}

fn say_ready(endpoints: &Endpoints, options: &mut ServiceOptions) -> anyhow::Result<()> {
    tracing::info!(
        adapter = endpoints.adapter,
        publish = endpoints.publish,
        query = endpoints.query,
        control = endpoints.control,
        http = endpoints.http,
        "ready"
    );
    if let Some(path) = &options.endpoints_file {
        // Whoever waits for the file finds it whole.
        let aside = path.with_extension("part");
        std::fs::write(&aside, serde_json::to_vec_pretty(endpoints)?)
            .and_then(|()| std::fs::rename(&aside, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(ready) = options.ready.take() {
        // Whoever asked may have gone; the service runs all the same.
        ready.send(endpoints.clone()).ok();
    }
    Ok(())
}
