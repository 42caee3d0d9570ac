//! Clips from workers elsewhere: the newest conditions to whoever is free, clips back.
//!
//! A worker has one job at a time. Of those that are free the quickest so far is asked first. One
//! that says nothing for some seconds is gone: its clip is lost and named, its next `hello` is
//! welcome. Workers with other files or settings are refused, because their clips would look
//! like clips of this session and be none.

use std::{collections::HashMap, sync::Arc, time::Duration};

use corticast_models::generator::{Mode, maker::distance};
use corticast_wire::{
    message::MessageError,
    socket::{PeerId, Router},
    work::{
        FromWorker, Hello, Job, JobId, MadeHeader, MadePictures, ToWorker, WORK_PROTOCOL,
        WorkRefused,
    },
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Made,
    thread::{Pace, Streak},
};
use crate::{
    clock::monotonic_ns,
    config::generator::WhenSuperseded,
    metrics::Metrics,
    plan::clips::ClipPlan,
    product::{
        Product, clips::ClipPictures, reports::StatusReport, results::ConditionsReport,
        tensors::from_safetensors,
    },
    queue::latest::Newest,
};
use corticast_models::conditions::Conditions;

/// How often workers are told that the daemon lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A worker that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(8);
/// How long clips that are on their way may take once the session is over.
const LAST_CLIPS: Duration = Duration::from_secs(5);
/// Workers that are known at the same time; more are refused.
const MAX_WORKERS: usize = 256;
/// How much the last clip counts for how quick a worker is.
const QUICKNESS: f64 = 0.3;

/// What a worker is doing.
struct Busy {
    id: u64,
    conditions: ConditionsReport,
    superseded: u32,
    since: Instant,
    is_dropped: bool,
}

/// A worker that was welcomed.
struct Worker {
    name: String,
    heard: Instant,
    /// Seconds a clip takes it; 0 before its first.
    clip_s: f64,
    busy: Option<Busy>,
}

/// Hands out work. See the module docs.
pub struct Dispatcher<F> {
    router: Router,
    plan: ClipPlan,
    pace: Pace,
    newest: Newest<ConditionsReport>,
    metrics: Metrics,
    out: F,
    workers: HashMap<PeerId, Worker>,
    next_id: u64,
    /// What the last job was made of.
    last: Option<Conditions>,
    streak: Streak,
    /// The operator was told that nobody works.
    is_alarmed: bool,
}

impl<F: Fn(Product) + Send> Dispatcher<F> {
    /// A dispatcher that knows no worker yet.
    pub fn new(
        router: Router,
        plan: ClipPlan,
        pace: Pace,
        newest: Newest<ConditionsReport>,
        metrics: Metrics,
        out: F,
    ) -> Self {
        Self {
            router,
            plan,
            pace,
            newest,
            metrics,
            out,
            workers: HashMap::new(),
            next_id: 0,
            last: None,
            streak: Streak::default(),
            is_alarmed: false,
        }
    }

    /// Hands out work until the mailbox is closed and what is on its way is done, or takes long.
    pub async fn run(mut self) {
        let mut every = interval(HEARTBEAT);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut not_before = Instant::now();
        let mut closed_at = None;
        loop {
            let is_free = self.workers.values().any(|worker| worker.busy.is_none());
            let takes = is_free && closed_at.is_none() && Instant::now() >= not_before;
            tokio::select! {
                taken = self.newest.take(), if takes => match taken {
                    Some((conditions, superseded)) => {
                        not_before = Instant::now() + self.pace.min_interval;
                        self.hand_out(conditions, superseded).await;
                    }
                    None => closed_at = Some(Instant::now()),
                },
                message = self.router.recv() => match message {
                    Ok((peer, frames)) => self.take(peer, FromWorker::parse(&frames)).await,
                    Err(error) => {
                        tracing::warn!(%error, "the socket of workers is closed");
                        return;
                    }
                },
                _ = every.tick() => {
                    self.look_after().await;
                    if self.newest.is_closed() && closed_at.is_none() {
                        closed_at = Some(Instant::now());
                    }
                }
                () = tokio::time::sleep_until(not_before), if Instant::now() < not_before => {}
            }
            let n_busy = self.workers.values().filter(|worker| worker.busy.is_some()).count();
            self.metrics.workers_busy.set(n_busy as f64);
            if closed_at.is_some_and(|at| n_busy == 0 || at.elapsed() > LAST_CLIPS) {
                return;
            }
        }
    }

    /// Gives a job to the quickest of those that are free.
    async fn hand_out(&mut self, conditions: ConditionsReport, superseded: u32) {
        let known = match from_safetensors(&conditions.tensors, &self.plan.model.sizes) {
            Ok(known) => known,
            Err(error) => return self.failed(format!("{}: {error}", conditions.index)),
        };
        let is_similar = |last: &Conditions| distance(&known, last) < self.plan.skip_similar;
        if self.last.as_ref().is_some_and(is_similar) {
            self.metrics.clips_skipped.increment(1);
            return;
        }
        self.last = Some(known);
        loop {
            let free = self.workers.iter().filter(|(_, worker)| worker.busy.is_none());
            let quickest = free.min_by(|(_, a), (_, b)| a.clip_s.total_cmp(&b.clip_s));
            let Some(peer) = quickest.map(|(peer, _)| peer.clone()) else {
                return self.failed(format!("{}: no worker took it", conditions.index));
            };
            let id = self.next_id;
            self.next_id += 1;
            let job = Job {
                id,
                run: conditions.run.to_string(),
                index: conditions.index.0,
                stimulus_time_s: conditions.stimulus_time_s,
            };
            let message = ToWorker::Job(job, conditions.tensors.clone());
            match self.router.send(&peer, message.to_frames()).await {
                Ok(()) => {
                    if let Some(worker) = self.workers.get_mut(&peer) {
                        let (since, is_dropped) = (Instant::now(), false);
                        worker.busy = Some(Busy { id, conditions, superseded, since, is_dropped });
                    }
                    return;
                }
                Err(error) => self.lose(&peer, &error.to_string()),
            }
        }
    }

    async fn take(&mut self, peer: PeerId, message: Result<FromWorker, MessageError>) {
        if let Some(worker) = self.workers.get_mut(&peer) {
            worker.heard = Instant::now();
        }
        let is_known = self.workers.contains_key(&peer);
        match message {
            Ok(FromWorker::Hello(hello)) => self.welcome(peer, hello).await,
            _ if !is_known => self.say(&peer, &ToWorker::Who).await,
            Ok(FromWorker::Made(header, pictures)) => self.made(&peer, header, pictures),
            Ok(FromWorker::Failed(failed)) => {
                let Some((busy, name)) = self.free(&peer, failed.id) else { return };
                if failed.dropped && busy.is_dropped {
                    self.metrics.conditions_superseded.increment(1);
                } else {
                    let reason = failed.reason;
                    self.failed(format!("{}: worker `{name}`: {reason}", busy.conditions.index));
                }
            }
            Ok(FromWorker::Ping) => {}
            Err(error) => {
                tracing::warn!(?peer, %error, "a worker said something that cannot be read");
                self.metrics.messages_refused.increment(1);
            }
        }
    }

    async fn welcome(&mut self, peer: PeerId, hello: Hello) {
        let name = printable(&hello.name);
        let settings = self.plan.settings();
        let refused = if hello.protocol != WORK_PROTOCOL {
            let found = hello.protocol;
            Some(format!("speaks work protocol {found}, this daemon speaks {WORK_PROTOCOL}"))
        } else if hello.files != self.plan.identity() {
            Some(
                "has other model files than the daemon: copy `dir` of [model] and of [generator] \
                 to it again"
                    .to_owned(),
            )
        } else if hello.settings != settings {
            Some(format!(
                "makes clips with other settings: {}, expected {settings}",
                printable(&hello.settings)
            ))
        } else if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(&peer) {
            Some(format!("is one more than the {MAX_WORKERS} that are taken"))
        } else {
            None
        };
        if let Some(reason) = refused {
            self.status("warning", format!("worker `{name}` {reason}"));
            self.say(&peer, &ToWorker::Refused(WorkRefused { reason })).await;
            return;
        }
        // One that says `hello` again has forgotten its job.
        if self.workers.contains_key(&peer) {
            self.lose(&peer, "it started anew");
        }
        self.say(&peer, &ToWorker::Welcome).await;
        tracing::info!(worker = name, "a worker makes clips");
        let worker = Worker { name, heard: Instant::now(), clip_s: 0.0, busy: None };
        self.workers.insert(peer, worker);
        self.is_alarmed = false;
        self.metrics.workers.set(self.workers.len() as f64);
    }

    fn made(&mut self, peer: &PeerId, header: MadeHeader, pictures: MadePictures) {
        // Of a job that was given up meanwhile.
        let Some((busy, name)) = self.free(peer, header.id) else { return };
        let mode = [Mode::Still, Mode::Live, Mode::Reference];
        let Some(mode) = mode.into_iter().find(|mode| mode.name() == header.mode) else {
            let mode = printable(&header.mode);
            return self.failed(format!("worker `{name}` made a clip of mode {mode:?}"));
        };
        let n_byte = pictures.frames.len() + pictures.blurry.len() + pictures.mask.len();
        let most = self.plan.bytes();
        if n_byte > most {
            return self.failed(format!(
                "worker `{name}` sent a clip of {n_byte} bytes, expected at most {most}"
            ));
        }
        if header.mask_edge as usize > 0 && pictures.mask.iter().any(|&value| value > 1) {
            return self.failed(format!("worker `{name}` sent masks of other values than 0 and 1"));
        }
        let clip_s = busy.since.elapsed().as_secs_f64();
        if let Some(worker) = self.workers.get_mut(peer) {
            let before = if worker.clip_s > 0.0 { worker.clip_s } else { clip_s };
            worker.clip_s = before + QUICKNESS * (clip_s - before);
        }
        let made = Made {
            mode,
            steps: header.steps as usize,
            seed: header.seed,
            caption: header.caption,
            caption_cut: header.caption_cut,
            n_frame: header.n_frame as usize,
            edge: header.edge as usize,
            took_ns: header.took_ns,
            pictures: ClipPictures {
                frames: pictures.frames,
                blurry: pictures.blurry,
                blurry_edge: header.blurry_edge as usize,
                mask: pictures.mask,
                mask_edge: header.mask_edge as usize,
            },
        };
        let tr_s = self.plan.repetition_time_s;
        let now_ns = monotonic_ns();
        let report = made.into_report(&busy.conditions, busy.superseded, tr_s, Some(name), now_ns);
        self.metrics.clip(&report);
        self.streak.end();
        (self.out)(Product::Clip(report));
    }

    /// Takes a job from a worker, if it is the one that it has.
    fn free(&mut self, peer: &PeerId, id: u64) -> Option<(Busy, String)> {
        let worker = self.workers.get_mut(peer)?;
        let busy = worker.busy.take_if(|busy| busy.id == id)?;
        Some((busy, worker.name.clone()))
    }

    /// Tells workers that the daemon lives, gives up those that do not, and drops clips that
    /// newer conditions make useless.
    async fn look_after(&mut self) {
        let silent = |worker: &Worker| worker.heard.elapsed() > SILENCE;
        let gone: Vec<PeerId> =
            self.workers.iter().filter(|(_, w)| silent(w)).map(|(peer, _)| peer.clone()).collect();
        for peer in gone {
            self.lose(&peer, &format!("silent for {} s", SILENCE.as_secs()));
        }
        let aborts = self.pace.when_superseded == WhenSuperseded::Abort && self.newest.is_waiting();
        let all_busy = self.workers.values().all(|worker| worker.busy.is_some());
        let mut messages: Vec<(PeerId, ToWorker)> =
            self.workers.keys().map(|peer| (peer.clone(), ToWorker::Ping)).collect();
        if aborts && all_busy {
            // The oldest job only: some clips are always shown.
            let busy = self.workers.iter_mut().filter_map(|(peer, worker)| {
                worker.busy.as_mut().filter(|busy| !busy.is_dropped).map(|busy| (peer, busy))
            });
            if let Some((peer, busy)) = busy.min_by_key(|(_, busy)| busy.id) {
                busy.is_dropped = true;
                messages.push((peer.clone(), ToWorker::Drop(JobId { id: busy.id })));
            }
        }
        for (peer, message) in messages {
            self.say(&peer, &message).await;
        }
        if self.workers.is_empty() && self.newest.is_waiting() && !self.is_alarmed {
            self.is_alarmed = true;
            let endpoint = self.router.endpoint();
            let message = format!(
                "no worker makes clips: start `corticast generate --connect {endpoint}`; decoding \
                 goes on"
            );
            self.status("alarm", message);
        }
    }

    /// Gives a worker up, and its clip with it.
    fn lose(&mut self, peer: &PeerId, why: &str) {
        let Some(worker) = self.workers.remove(peer) else { return };
        self.metrics.workers.set(self.workers.len() as f64);
        let name = worker.name;
        match worker.busy {
            Some(busy) => {
                self.metrics.clips_failed.increment(1);
                let index = busy.conditions.index;
                self.status(
                    "warning",
                    format!("worker `{name}` is gone ({why}), and with it the clip of {index}"),
                );
            }
            None => self.status("warning", format!("worker `{name}` is gone ({why})")),
        }
    }

    fn failed(&mut self, message: String) {
        self.metrics.clips_failed.increment(1);
        self.streak.fail(message, &self.out);
    }

    async fn say(&self, peer: &PeerId, message: &ToWorker) {
        if let Err(error) = self.router.send(peer, message.to_frames()).await {
            tracing::debug!(%error, "a worker was not reached");
        }
    }

    fn status(&self, level: &'static str, message: String) {
        (self.out)(Product::Status(StatusReport { level, message, published_ns: monotonic_ns() }));
    }
}

/// Foreign text, short and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// What a worker is told of a run, shared by its jobs.
pub(crate) fn conditions_of(job: &Job, tensors: bytes::Bytes) -> ConditionsReport {
    ConditionsReport {
        run: Arc::from(job.run.as_str()),
        index: corticast_bold::time::TrIndex(job.index),
        stimulus_time_s: job.stimulus_time_s,
        received_ns: 0,
        published_ns: 0,
        blanked: false,
        tensors,
    }
}
