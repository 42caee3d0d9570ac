//! Wiring: builds a session from its plan, and starts its threads and tasks.
//!
//! The order matters. A recording of the session is continued first, while nothing can arrive;
//! then the sockets are bound, and the outputs and the recorder start before the signal thread
//! that feeds them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use corticast_wire::{message::Durability, socket::Router};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    commands, http, notify,
    options::ServiceOptions,
    query,
    reports::{self, Reports},
    shutdown::Running,
    sockets::Sockets,
};
use crate::{
    clock::{monotonic_ns, wall_ns},
    generate::{Clips, dispatch::Dispatcher, pace::Pace, thread as generator},
    intake::{answers::Answers, inbox::Inbox, ingest::Ingest, recorded::Recorded},
    metrics::{Metrics, exporter},
    outputs::{
        blanking::Blanking,
        board::Board,
        fanout::Fanout,
        json_lines::Continuing,
        limiter::Limiter,
        pictures::{self, PictureThreads},
        publish, results, sinks,
    },
    plan::{Plan, describe, feedback::sealed},
    product::{
        Product,
        results::{ConditionsReport, ResultKey},
    },
    queue::{
        drop_oldest::drop_oldest,
        latest::{Newest, latest},
    },
    recording::{
        belongs::RECORDING,
        disk,
        format::SESSION,
        products::RecordedProducts,
        recorder::{Record, Recorder, RecorderThread},
        restore,
        room::Kind,
    },
    signal::{path::SignalPath, session::Session, thread as signal},
    supervise::Supervisor,
};

/// Most products that wait for the PUB socket, or for the results file.
const OUTPUT_QUEUE: usize = 4096;

/// Most conditions and clips that wait for the PUB socket: they are large, and old ones useless.
const LARGE_QUEUE: usize = 8;

/// Most commands that wait for the receive task.
const COMMAND_QUEUE: usize = 16;

/// Builds the session of a plan. Returns the state of the receive task, and the threads and tasks
/// beside it.
///
/// # Errors
///
/// Fails when a network or the recording cannot be opened, a socket cannot be bound, or a file
/// cannot be written.
pub(super) async fn build(
    plan: Plan,
    mut options: ServiceOptions,
    supervisor: &Supervisor,
) -> anyhow::Result<(Inbox, Running)> {
    let clips = plan.clips.clone().map(|clips| Clips::open(clips, &plan.config.generator));
    let clips = clips.transpose()?;
    let prometheus = exporter::install().context("cannot set up metrics")?;
    let metrics = Metrics::new();
    let instance = format!("{:016x}", wall_ns() ^ u64::from(std::process::id()));
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

    // A recording is restored before the sockets are bound, so that nothing arrives meanwhile.
    let asked = config.recording.results.as_deref();
    let known = match (asked, &config.recording.file) {
        (Some(asked), Some(recording)) => restore::results_file(recording, asked)?,
        _ => None,
    };
    let mut results = match (&known, asked) {
        (Some(known), _) => Some(Continuing::of_session(known)?),
        (None, Some(asked)) => Some(Continuing::open(asked)?),
        (None, None) => None,
    };
    let mut keep = |_: ResultKey, line: &[u8]| match &mut results {
        Some(results) => Ok(results.recorded(line)?),
        None => Ok(()),
    };
    let restored = match &config.recording.file {
        Some(file) => Some(restore::restore(
            file,
            &description,
            &mut ingest,
            &mut session,
            &recorded,
            &mut keep,
        )?),
        None => None,
    };

    // Everything else was checked: a session that cannot start uses no sealed assignment.
    let assignment = sealed::mark_used(&config)?;
    let mut sockets = Sockets::bind(&config, clips.is_some()).await?;
    let board = Board::new(description.clone());
    let is_blanked = restored.as_ref().is_some_and(|restored| restored.is_blanked);
    let blanking = Blanking::new(is_blanked);
    let is_ready = Arc::new(AtomicBool::new(false));
    let (publish, published) = drop_oldest(OUTPUT_QUEUE, metrics.output_dropped("publish"));
    let (publish_large, large) = drop_oldest(LARGE_QUEUE, metrics.output_dropped("publish_large"));
    let publishing = [published, large].map(|products| {
        let (publisher, board) = (Arc::clone(&sockets.publisher), board.clone());
        let publishing = publish::publish(publisher, products, board, blanking.clone());
        supervisor.spawn("publish", publishing)
    });
    let mut recorded_description = description.clone();
    let number = restored.as_ref().and_then(|restored| restored.number.clone());
    recorded_description[RECORDING] = number.unwrap_or_else(|| instance.clone()).into();
    let (results, writing) = match results {
        Some(results) => {
            let file = results.finish()?;
            if let Some(asked) = asked {
                recorded_description =
                    restore::with_results_file(recorded_description, asked, file.path());
            }
            let (feeder, drain) = drop_oldest(OUTPUT_QUEUE, metrics.output_dropped("results"));
            let guard = supervisor.guard("results");
            (Some(Arc::new(feeder)), Some(results::write(file, drain, guard)?))
        }
        None => (None, None),
    };
    let (pictures, picture_threads) = PictureThreads::start(
        pictures::create(&pictures::with_free_names(&config.outputs))?,
        &metrics,
        supervisor,
    )?;
    let (mut reports, mut reporting) = (None, None);
    if let (Some(folder), Some(recording)) = (&config.outputs.report, &config.recording.file) {
        let (feeder, ended) = drop_oldest(reports::QUEUE, metrics.output_dropped("report"));
        let (folder, recording) = (folder.clone(), recording.clone());
        let thread = Reports { recording, folder, ended, supervisor: supervisor.clone() };
        reports = Some(Arc::new(feeder));
        reporting = Some(thread.start()?);
    }
    let sinks = sinks::start(&config.sinks, &blanking, &metrics, supervisor).await?;
    sockets.endpoints.sinks = sinks.endpoints;
    let mut fanout = Fanout {
        publish: Arc::new(publish),
        publish_large: Arc::new(publish_large),
        results,
        watch: options.watch.take().map(Arc::new),
        recorder: None,
        records: RecordedProducts::of(&config.recording),
        reports,
        pictures,
        sinks: sinks.feeders,
        clips: None,
        blanking: blanking.clone(),
        limiter: Limiter::new(metrics.warnings_left_out.clone()),
    };
    let (answers, answering) = Answers::start(Arc::clone(&sockets.adapters), supervisor);
    let (mut left, mut alarms) = (None, Vec::new());
    let is_paused = restored.as_ref().is_some_and(|restored| restored.is_paused);
    let recording: Option<RecorderThread> = match restored {
        Some(restored) => {
            (left, alarms) = (Some(restored.left), restored.alarms);
            let (alarms, safe) = (fanout.clone(), answers.clone());
            let (recorder, thread) = Recorder::start(
                restored.file,
                durability,
                Arc::clone(&recorded),
                metrics.clone(),
                move |ticket| safe.give(ticket),
                move |message| alarms.status("alarm", message),
                supervisor.guard("recorder"),
            )?;
            let (topic, at_ns, data) =
                (SESSION, monotonic_ns(), recorded_description.to_string().into());
            let kind = Kind::Control;
            // The queue is empty, so there is room.
            recorder.record(Record { topic, at_ns, data, kind, ticket: None }).ok();
            fanout.recorder = Some(recorder);
            Some(thread)
        }
        None => None,
    };
    let generating = match clips {
        Some(clips) => {
            let (mailbox, newest) = latest(metrics.conditions_superseded.clone());
            let pace = Pace::of(&config.generator);
            let outputs = fanout.clone();
            let task =
                generate(clips, pace, newest, sockets.workers, &metrics, outputs, supervisor)?;
            fanout.clips = Some(Arc::new(mailbox));
            Some(task)
        }
        None => None,
    };
    for alarm in alarms {
        fanout.status("alarm", alarm);
    }
    // Clients that join late must see a restored run on the board, too.
    if let Some(report) = session.open_run() {
        fanout.deliver(Product::Run(report));
    }

    let out = fanout.clone();
    let recorder = fanout.recorder.clone();
    let is_late = Arc::new(AtomicBool::new(false));
    let (happenings, signal) = signal::start(
        session,
        left.unwrap_or_default(),
        Arc::clone(&is_late),
        move |product| out.deliver(product),
        move |at_ns, state| {
            if let Some(recorder) = &recorder {
                recorder.checkpoint(at_ns, state);
            }
        },
        supervisor.guard("signal"),
    )?;
    let (commands, commanded) = mpsc::channel(COMMAND_QUEUE);
    let serving = [
        supervisor.spawn("query", query::serve(sockets.query, board.clone())),
        supervisor
            .spawn("control", commands::serve(sockets.control, commands, blanking, board.clone())),
        supervisor.spawn("http", http::serve(sockets.http, prometheus, Arc::clone(&is_ready))),
    ];
    is_ready.store(true, Ordering::Release);
    sockets.endpoints.announce(options.endpoints_file.as_deref())?;
    notify::supervisor("READY=1");
    if let Some(ready) = options.ready.take() {
        // The receiver may be gone; the service runs anyway.
        ready.send(sockets.endpoints).ok();
    }

    let inbox = Inbox {
        adapters: sockets.adapters,
        ingest,
        instance,
        happenings,
        answers,
        fanout,
        metrics,
        commanded,
        peers: Default::default(),
        waiting: Default::default(),
        board,
        is_paused,
        is_blanked,
        disk_hangs: false,
    };
    let running = Running {
        is_ready,
        is_late,
        signal,
        generating,
        publishing,
        publisher: sockets.publisher,
        pictures: picture_threads,
        sinks: sinks.threads,
        results: writing,
        recording,
        reporting,
        serving,
        answering,
        _assignment: assignment,
    };
    Ok((inbox, running))
}

/// Starts the generator or the dispatcher of workers. `fanout` must not deliver back to it.
fn generate(
    clips: Clips,
    pace: Pace,
    newest: Newest<ConditionsReport>,
    workers: Option<Router>,
    metrics: &Metrics,
    fanout: Fanout,
    supervisor: &Supervisor,
) -> anyhow::Result<JoinHandle<bool>> {
    let out = move |product| fanout.deliver(product);
    Ok(match clips {
        Clips::Here(maker) => {
            let guard = supervisor.guard("generator");
            let thread = generator::start(*maker, pace, newest, metrics.clone(), out, guard)?;
            tokio::task::spawn_blocking(move || thread.join().is_ok())
        }
        Clips::Elsewhere(plan) => {
            let workers = workers.context("workers are configured, so their socket is bound")?;
            let dispatcher = Dispatcher::new(workers, *plan, pace, newest, metrics.clone(), out);
            supervisor.spawn("workers", async move {
                dispatcher.run().await;
                true
            })
        }
    })
}

/// Reports the model and the way clips are made, in the log and in the metrics.
fn announce_model(plan: &Plan, clips: Option<&Clips>, metrics: &Metrics) {
    let Some(decoder) = &plan.decoder else {
        tracing::warn!("no model is configured: volumes are recorded but not decoded");
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
