//! Dispatch: sends the newest conditions to a free worker and receives clips.
//!
//! The free worker with the shortest average time per clip gets the next job. A worker that is
//! silent for 8 s counts as dead: its clip is lost, the operator gets a warning, and the
//! worker may join again. A worker that sends heartbeats but gives no clip before a deadline is
//! stuck: its job is lost, the operator gets an alarm, and it gets no further job until it answers.
//! Workers with other files or settings are refused.

use std::{sync::Arc, time::Duration};

use corticast_bold::time::TrIndex;
use corticast_models::{conditions::Conditions, generator::maker::distance};
use corticast_wire::{
    heartbeat::{HEARTBEAT, WORKER_SILENCE},
    message::MessageError,
    socket::{PeerId, Router},
    text::printable,
    work::{FromWorker, Hello, Job, JobId, MadeHeader, MadePictures, ToWorker, WorkRefused},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    failures::{Failures, status},
    pace::Pace,
    roster::{Busy, MAX_WORKERS, Roster},
    vet,
};
use crate::{
    clock::monotonic_ns,
    config::generator::WhenSuperseded,
    metrics::Metrics,
    plan::clips::ClipPlan,
    product::{Product, results::ConditionsReport, tensors::from_safetensors},
    queue::latest::Newest,
};

/// How long unfinished clips may take once the session is over.
const LAST_CLIPS: Duration = Duration::from_secs(5);

/// Hands out work. See the module docs.
pub struct Dispatcher<F> {
    router: Router,
    plan: ClipPlan,
    pace: Pace,
    newest: Newest<ConditionsReport>,
    metrics: Metrics,
    out: F,
    roster: Roster,
    next_id: u64,
    /// Conditions of the last clip.
    last: Option<Conditions>,
    failures: Failures,
    /// The operator got the alarm that no worker is connected.
    is_alarmed: bool,
}

impl<F: Fn(Product) + Send> Dispatcher<F> {
    /// A dispatcher without workers.
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
            roster: Roster::default(),
            next_id: 0,
            last: None,
            failures: Failures::default(),
            is_alarmed: false,
        }
    }

    /// Hands out work until the mailbox is closed and all clips are back, at most 5 s
    /// after the end of the session.
    pub async fn run(mut self) {
        let mut every = interval(HEARTBEAT);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut not_before = Instant::now();
        let mut closed_at = None;
        loop {
            let takes =
                self.roster.has_free() && closed_at.is_none() && Instant::now() >= not_before;
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
                        tracing::warn!(%error, "the worker socket is closed; no more clips");
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
            let n_busy = self.roster.n_busy();
            self.metrics.workers_busy.set(n_busy as f64);
            if closed_at.is_some_and(|at| n_busy == 0 || at.elapsed() > LAST_CLIPS) {
                return;
            }
        }
    }

    /// Gives a job to the quickest free worker.
    async fn hand_out(&mut self, conditions: ConditionsReport, superseded: u32) {
        let known = match from_safetensors(&conditions.tensors, &self.plan.model.sizes) {
            Ok(known) => known,
            Err(error) => return self.failed(format!("{}: {error}", conditions.index)),
        };
        let is_similar = |last: &Conditions| distance(&known, last) < self.plan.skip_similar;
        if self.last.iter().chain(self.roster.under_way()).any(is_similar) {
            self.metrics.clips_skipped.increment(1);
            return;
        }
        loop {
            let Some(peer) = self.roster.quickest_free() else {
                return self.failed(format!("{}: no worker accepted the job", conditions.index));
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
                    let (since, is_dropped) = (Instant::now(), false);
                    let busy = Busy { id, conditions, known, superseded, since, is_dropped };
                    self.roster.assign(&peer, busy);
                    return;
                }
                Err(error) => self.lose(&peer, &error.to_string()),
            }
        }
    }

    async fn take(&mut self, peer: PeerId, message: Result<FromWorker, MessageError>) {
        self.roster.heard(&peer);
        let is_known = self.roster.knows(&peer);
        match message {
            Ok(FromWorker::Hello(hello)) => self.welcome(peer, hello).await,
            _ if !is_known => self.say(&peer, &ToWorker::Who).await,
            Ok(FromWorker::Made(header, pictures)) => {
                self.answered(&peer);
                self.made(&peer, header, pictures);
            }
            Ok(FromWorker::Failed(failed)) => {
                self.answered(&peer);
                let Some((busy, name)) = self.roster.free(&peer, failed.id) else { return };
                if failed.dropped && busy.is_dropped {
                    self.metrics.conditions_superseded.increment(1);
                } else {
                    let reason = failed.reason;
                    self.failed(format!("{}: worker `{name}`: {reason}", busy.conditions.index));
                }
            }
            Ok(FromWorker::Ping) => {}
            Err(error) => {
                self.status("warning", format!("a worker sent an unreadable message: {error}"));
                self.metrics.messages_refused.increment(1);
            }
        }
    }

    async fn welcome(&mut self, peer: PeerId, hello: Hello) {
        let name = printable(&hello.name, vet::MAX_TEXT_CHARS);
        let is_one_too_many = self.roster.len() >= MAX_WORKERS && !self.roster.knows(&peer);
        let one_too_many = || format!("would exceed the limit of {MAX_WORKERS} workers");
        let refused =
            vet::refusal(&hello, &self.plan).or_else(|| is_one_too_many.then(one_too_many));
        if let Some(reason) = refused {
            self.status("warning", format!("worker `{name}` {reason}"));
            self.say(&peer, &ToWorker::Refused(WorkRefused { reason })).await;
            return;
        }
        // A worker that sends `hello` again was restarted and has lost its job.
        if self.roster.knows(&peer) {
            self.lose(&peer, "it restarted");
        }
        self.say(&peer, &ToWorker::Welcome).await;
        tracing::info!(worker = name, "a worker joined");
        let made_with = printable(&hello.made_with, vet::MAX_TEXT_CHARS);
        if let Some((other, with)) = self.roster.with_another(&made_with) {
            self.status(
                "warning",
                format!(
                    "worker `{name}` makes clips with {made_with}, worker `{other}` with {with}: \
                     the last bits of their clips can differ"
                ),
            );
        }
        self.roster.add(peer, name, made_with);
        self.is_alarmed = false;
        self.metrics.workers.set(self.roster.len() as f64);
    }

    fn made(&mut self, peer: &PeerId, header: MadeHeader, pictures: MadePictures) {
        // The dispatcher has given up this job.
        let Some((busy, name)) = self.roster.free(peer, header.id) else { return };
        let made = match vet::made_clip(header, pictures, &self.plan, &name) {
            Ok(made) => made,
            Err(reason) => return self.failed(reason),
        };
        self.roster.took(peer, busy.since.elapsed().as_secs_f64());
        let tr_s = self.plan.repetition_time_s;
        let now_ns = monotonic_ns();
        let report = made.into_report(&busy.conditions, busy.superseded, tr_s, Some(name), now_ns);
        self.last = Some(busy.known);
        self.metrics.clip(&report);
        self.failures.end();
        (self.out)(Product::Clip(report));
    }

    /// Sends heartbeats to the workers, removes silent ones, and drops clips that newer
    /// conditions make useless.
    async fn look_after(&mut self) {
        for peer in self.roster.silent() {
            self.lose(&peer, &format!("silent for {} s", WORKER_SILENCE.as_secs()));
        }
        self.give_up_overdue().await;
        let aborts = self.pace.when_superseded == WhenSuperseded::Abort && self.newest.is_waiting();
        let mut messages: Vec<(PeerId, ToWorker)> =
            self.roster.peers().map(|peer| (peer.clone(), ToWorker::Ping)).collect();
        // Drop the oldest job only, so that some clips are always shown.
        if aborts
            && !self.roster.has_free()
            && let Some((peer, id)) = self.roster.drop_oldest_job()
        {
            messages.push((peer, ToWorker::Drop(JobId { id })));
        }
        for (peer, message) in messages {
            self.say(&peer, &message).await;
        }
        if self.roster.has_nobody() && self.newest.is_waiting() && !self.is_alarmed {
            self.is_alarmed = true;
            let endpoint = self.router.endpoint();
            let message = format!(
                "no worker makes clips: start `corticast generate --connect {endpoint}`; decoding \
                 continues"
            );
            self.status("alarm", message);
        }
    }

    /// Takes the jobs that took too long from their workers; their clips are lost.
    async fn give_up_overdue(&mut self) {
        let pace = self.pace;
        for (peer, name, busy, deadline) in self.roster.overdue(|average| pace.deadline(average)) {
            self.metrics.clips_failed.increment(1);
            let (index, seconds) = (busy.conditions.index, deadline.as_secs_f64());
            self.status(
                "alarm",
                format!(
                    "worker `{name}` is connected but has not finished the clip of {index} in \
                     {seconds:.0} s: the clip is lost, and the worker gets no more jobs until it \
                     answers; check its device, and restart it"
                ),
            );
            self.say(&peer, &ToWorker::Drop(JobId { id: busy.id })).await;
        }
    }

    /// Notes that a worker answered to a job. A stuck worker gets jobs again.
    fn answered(&mut self, peer: &PeerId) {
        if let Some(name) = self.roster.answered(peer) {
            self.is_alarmed = false;
            self.status("info", format!("worker `{name}` answers again"));
        }
    }

    /// Removes a worker; its clip is lost.
    fn lose(&mut self, peer: &PeerId, why: &str) {
        let Some(worker) = self.roster.remove(peer) else { return };
        self.metrics.workers.set(self.roster.len() as f64);
        let name = worker.name;
        match worker.busy {
            Some(busy) => {
                self.metrics.clips_failed.increment(1);
                let index = busy.conditions.index;
                self.status(
                    "warning",
                    format!("worker `{name}` is gone ({why}); the clip of {index} is lost"),
                );
            }
            None => self.status("warning", format!("worker `{name}` is gone ({why})")),
        }
    }

    fn failed(&mut self, message: String) {
        self.metrics.clips_failed.increment(1);
        self.failures.fail(message, &self.out);
    }

    async fn say(&self, peer: &PeerId, message: &ToWorker) {
        if let Err(error) = self.router.send(peer, message.to_frames()).await {
            tracing::debug!(%error, "cannot reach a worker");
        }
    }

    fn status(&self, level: &'static str, message: String) {
        status(level, message, &self.out);
    }
}

/// The conditions of a job, as its worker sees them.
pub(crate) fn conditions_of(job: &Job, tensors: bytes::Bytes) -> ConditionsReport {
    ConditionsReport {
        run: Arc::from(job.run.as_str()),
        index: TrIndex(job.index),
        stimulus_time_s: job.stimulus_time_s,
        received_ns: 0,
        published_ns: 0,
        blanked: false,
        tensors,
    }
}
