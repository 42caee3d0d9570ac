//! The roster: the known workers and their jobs.
//!
//! A worker has one job at a time. It counts as dead after some seconds without a message. A worker
//! that sends heartbeats but no clip is stuck: it gets no job until it answers.

use std::{collections::HashMap, time::Duration};

use corticast_models::conditions::Conditions;
use corticast_wire::{heartbeat::WORKER_SILENCE, socket::PeerId};
use tokio::time::Instant;

use crate::product::results::ConditionsReport;

/// Most workers at a time; more are refused.
pub(super) const MAX_WORKERS: usize = 256;

/// Weight of the last clip in a worker's average time per clip.
const QUICKNESS: f64 = 0.3;

/// The current job of a worker.
pub(super) struct Busy {
    pub(super) id: u64,
    pub(super) conditions: ConditionsReport,
    /// The tensors of the conditions.
    pub(super) known: Conditions,
    pub(super) superseded: u32,
    pub(super) since: Instant,
    /// The worker was told to drop it.
    pub(super) is_dropped: bool,
}

/// A worker that was welcomed.
pub(super) struct Worker {
    pub(super) name: String,
    /// Program, runtime and device that it makes clips with.
    made_with: String,
    heard: Instant,
    /// Average time per clip in seconds; 0 before the first clip.
    clip_s: f64,
    pub(super) busy: Option<Busy>,
    /// It has not answered to its last job in time.
    is_stuck: bool,
}

impl Worker {
    fn is_free(&self) -> bool {
        self.busy.is_none() && !self.is_stuck
    }
}

/// The workers. See the module docs.
#[derive(Default)]
pub(super) struct Roster(HashMap<PeerId, Worker>);

impl Roster {
    /// How many workers there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no worker can make clips.
    pub(super) fn has_nobody(&self) -> bool {
        self.0.values().all(|worker| worker.is_stuck)
    }

    /// Whether a worker is known.
    pub(super) fn knows(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// All workers.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.0.keys()
    }

    /// Adds a worker that has no job.
    pub(super) fn add(&mut self, peer: PeerId, name: String, made_with: String) {
        let heard = Instant::now();
        let (clip_s, busy, is_stuck) = (0.0, None, false);
        self.0.insert(peer, Worker { name, made_with, heard, clip_s, busy, is_stuck });
    }

    /// A worker whose clips are made with another program, runtime or device, and with which.
    pub(super) fn with_another(&self, made_with: &str) -> Option<(&str, &str)> {
        let other = self.0.values().find(|worker| worker.made_with != made_with)?;
        Some((&other.name, &other.made_with))
    }

    /// Removes a worker.
    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Worker> {
        self.0.remove(peer)
    }

    /// Notes that a worker sent a message.
    pub(super) fn heard(&mut self, peer: &PeerId) {
        if let Some(worker) = self.0.get_mut(peer) {
            worker.heard = Instant::now();
        }
    }

    /// Workers that have been silent for more than [`WORKER_SILENCE`].
    pub(super) fn silent(&self) -> Vec<PeerId> {
        let silent = |worker: &Worker| worker.heard.elapsed() > WORKER_SILENCE;
        self.0.iter().filter(|(_, w)| silent(w)).map(|(peer, _)| peer.clone()).collect()
    }

    /// How many workers have a job.
    pub(super) fn n_busy(&self) -> usize {
        self.0.values().filter(|worker| worker.busy.is_some()).count()
    }

    /// Whether a worker has no job.
    pub(super) fn has_free(&self) -> bool {
        self.0.values().any(Worker::is_free)
    }

    /// The worker without a job that has the shortest average time per clip.
    pub(super) fn quickest_free(&self) -> Option<PeerId> {
        let free = self.0.iter().filter(|(_, worker)| worker.is_free());
        let quickest = free.min_by(|(_, a), (_, b)| a.clip_s.total_cmp(&b.clip_s));
        quickest.map(|(peer, _)| peer.clone())
    }

    /// Gives a worker a job.
    pub(super) fn assign(&mut self, peer: &PeerId, busy: Busy) {
        if let Some(worker) = self.0.get_mut(peer) {
            worker.busy = Some(busy);
        }
    }

    /// Takes job `id` from a worker, if it is its current one. Also returns the worker's name.
    pub(super) fn free(&mut self, peer: &PeerId, id: u64) -> Option<(Busy, String)> {
        let worker = self.0.get_mut(peer)?;
        let busy = worker.busy.take_if(|busy| busy.id == id)?;
        Some((busy, worker.name.clone()))
    }

    /// The conditions that clips are being made of.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Conditions> {
        self.0.values().filter_map(|worker| worker.busy.as_ref()).map(|busy| &busy.known)
    }

    /// Takes the job of each worker that has had it for longer than `deadline` of the average time
    /// per clip, and marks the worker as stuck. Returns these workers with their names, jobs and
    /// deadlines.
    pub(super) fn overdue(
        &mut self,
        deadline: impl Fn(f64) -> Duration,
    ) -> Vec<(PeerId, String, Busy, Duration)> {
        // A new worker is judged by the slowest of the others.
        let slowest = self.0.values().map(|worker| worker.clip_s).fold(0.0, f64::max);
        let mut overdue = Vec::new();
        for (peer, worker) in &mut self.0 {
            let average_s = if worker.clip_s > 0.0 { worker.clip_s } else { slowest };
            let deadline = deadline(average_s);
            if let Some(busy) = worker.busy.take_if(|busy| busy.since.elapsed() > deadline) {
                worker.is_stuck = true;
                overdue.push((peer.clone(), worker.name.clone(), busy, deadline));
            }
        }
        overdue
    }

    /// Notes that a worker answered to a job. Returns its name if it was stuck.
    pub(super) fn answered(&mut self, peer: &PeerId) -> Option<String> {
        let worker = self.0.get_mut(peer)?;
        std::mem::take(&mut worker.is_stuck).then(|| worker.name.clone())
    }

    /// Notes how long a worker took for a clip.
    pub(super) fn took(&mut self, peer: &PeerId, clip_s: f64) {
        if let Some(worker) = self.0.get_mut(peer) {
            let before = if worker.clip_s > 0.0 { worker.clip_s } else { clip_s };
            worker.clip_s = before + QUICKNESS * (clip_s - before);
        }
    }

    /// Marks the oldest job that is not yet dropped. Returns its worker and its id.
    pub(super) fn drop_oldest_job(&mut self) -> Option<(PeerId, u64)> {
        let busy = self.0.iter_mut().filter_map(|(peer, worker)| {
            worker.busy.as_mut().filter(|busy| !busy.is_dropped).map(|busy| (peer, busy))
        });
        let (peer, busy) = busy.min_by_key(|(_, busy)| busy.id)?;
        busy.is_dropped = true;
        Some((peer.clone(), busy.id))
    }
}
