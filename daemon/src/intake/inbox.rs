//! The receive task: every message and command for a session passes through here, in one order.
//!
//! The recording and the signal thread keep that order, which is why commands pass through here
//! too.

mod commands;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_wire::{
    heartbeat::HEARTBEAT,
    message::{DaemonPing, Encoding, FromAdapter, RefusalCode, Refused, ToAdapter},
    socket::{PeerId, Router},
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    answers::Answers,
    ingest::Ingest,
    peers::{Peers, Standing},
    verdict::{Disposition, IngestError},
    waiting::{Received, Waiting},
};
use crate::{
    clock::monotonic_ns,
    failpoint,
    metrics::Metrics,
    outputs::{board::Board, fanout::Fanout},
    recording::{
        format::{Content, ORDER, WIRE},
        recorder::{Answer, Record, Recorder, Ticket},
        room::Kind,
    },
    signal::{
        happening::{Command, Event, Happening},
        thread::{COMMAND_ROOM, Happenings},
    },
};

/// A command, and the channel for its answer.
pub type Commanded = (Command, oneshot::Sender<Value>);

/// Places of the ring that one message can need: it may end a run and start another.
const MESSAGE_ROOM: usize = 2;

/// Places of the ring that one command can need: it may end a run.
const COMMAND_NEEDS: usize = 2;

/// Free places of the ring that a message needs.
const ROOM: u32 = (COMMAND_ROOM + MESSAGE_ROOM) as u32;

/// A disk that takes no entry for so long hangs.
const DISK_HANGS: Duration = Duration::from_secs(5);

/// The receive task's state.
pub struct Inbox {
    pub adapters: Arc<Router>,
    pub ingest: Ingest,
    pub instance: String,
    pub happenings: Happenings,
    pub answers: Answers,
    pub fanout: Fanout,
    pub metrics: Metrics,
    pub commanded: mpsc::Receiver<Commanded>,
    pub peers: Peers,
    pub waiting: Waiting,
    pub board: Board,
    /// Set by the operator's last command, which the signal thread may not have processed yet.
    pub is_paused: bool,
    /// See `is_paused`.
    pub is_blanked: bool,
    /// Whether the alarm for a disk that hangs has been raised.
    pub disk_hangs: bool,
}

impl Inbox {
    /// Receives until `stopped` or the command `abort`. Heartbeats and commands are served while
    /// the signal thread is behind.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed, or with the error of `stopped`.
    pub async fn receive(
        &mut self,
        stopped: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stopped);
        let adapters = Arc::clone(&self.adapters);
        loop {
            tokio::select! {
                message = adapters.recv() => {
                    let (peer, frames) = message?;
                    self.received(peer, frames);
                }
                () = self.happenings.wait_for_room(ROOM), if !self.waiting.is_empty() => {
                    if let Some(received) = self.waiting.pop() {
                        self.message(received);
                    }
                }
                Some((command, answer)) = self.commanded.recv() => {
                    if self.commanded(command, answer) {
                        return Ok(());
                    }
                }
                _ = heartbeat.tick() => self.look_after_peers(),
                ended = &mut stopped => {
                    ended?;
                    break;
                }
            }
        }
        self.stop();
        Ok(())
    }

    /// The daemon stops. An open run that is recorded stays open: a restart continues it, as after
    /// a kill.
    fn stop(&mut self) {
        let open = self.ingest.open_run().map(|run| run.name.to_string());
        let recorder = self.fanout.recorder.as_ref().filter(|recorder| !recorder.has_failed());
        match (open, recorder) {
            (Some(run), Some(_)) => self.fanout.status(
                "info",
                format!(
                    "the daemon is stopping; `{run}` stays open, and a restart with the same \
                     recording continues it"
                ),
            ),
            (None, Some(_)) => {}
            (_, None) => self.command(Command::Stop, None),
        }
    }

    /// Takes a message from the socket. Heartbeats are answered at once, whatever waits.
    fn received(&mut self, peer: PeerId, frames: Vec<Bytes>) {
        failpoint::point("receive");
        let received_ns = monotonic_ns();
        let (message, encoding) = match FromAdapter::parse(&frames) {
            Ok(parsed) => parsed,
            Err(error) => {
                let reason = error.to_string();
                self.problem(&IngestError::Message(error));
                let code = RefusalCode::BadMessage;
                let refused = Refused { run: None, index: None, code, reason };
                self.answers.send(&peer, Encoding::Json, ToAdapter::Refused(refused));
                return;
            }
        };
        if self.peers.heard(&peer, encoding, &message) {
            self.fanout.status("info", "the adapter is connected again".to_owned());
        }
        if message == FromAdapter::Ping {
            let ping = DaemonPing { instance: self.instance.clone() };
            self.answers.send(&peer, encoding, ToAdapter::Ping(ping));
            return;
        }
        let received = Received { peer, encoding, message, frames, received_ns };
        if self.waiting.is_empty() && self.happenings.n_free() >= ROOM as usize {
            self.message(received);
        } else if !self.waiting.push(received) {
            self.metrics.volumes_deferred.increment(1);
        }
        self.metrics.messages_waiting.set(self.waiting.len() as f64);
    }

    /// Decides on a message. The ring has room for what comes of it.
    fn message(&mut self, received: Received) {
        let is_volume = received.is_volume();
        let Received { peer, encoding, message, frames, received_ns } = received;
        let recorder = self.fanout.recorder.clone();
        if let Some(recorder) = &recorder
            && !is_volume
            && !recorder.has_failed()
            && !recorder.has_room_for_control()
        {
            // Unanswered, so the adapter sends it again.
            self.metrics.volumes_deferred.increment(1);
            return;
        }
        let verdict = match (self.peers.standing(&peer), message.run_name()) {
            (Standing::Superseded, Some(run)) => self.ingest.taken_over(run),
            (Standing::Announced(number), Some(_)) => {
                self.ingest.handle_from(message, Some(number))
            }
            _ => self.ingest.handle(message),
        };
        if let Some(problem) = &verdict.problem {
            self.problem(problem);
        }
        if verdict.duplicate && is_volume {
            self.metrics.volumes_duplicate.increment(1);
        }
        // A duplicate that is not in the recording yet is recorded, but gives no event.
        let is_recorded = !verdict.events.is_empty() || verdict.acknowledge.is_some();
        for event in &verdict.events {
            match event {
                Event::RunEnded { .. } => self.peers.run_ended(),
                Event::Volume(..) => self.peers.owns_run(&peer),
                _ => {}
            }
        }
        for reply in &verdict.replies {
            if let ToAdapter::Ready(ready) = reply {
                self.peers.owns_run(&peer);
                if let Some(number) = self.ingest.number_of(&ready.run) {
                    self.peers.announced(&peer, number);
                }
            }
        }
        let to_adapter = |answer| Answer::Adapter { peer: peer.clone(), encoding, answer };
        let (mut replies, mut ticket) = (verdict.replies, None);
        if let Some((number, ack)) = verdict.acknowledge {
            let volume = ack.index.map(|index| (number, TrIndex(index)));
            ticket = Some(Ticket { volume, answer: to_adapter(ToAdapter::Ack(ack)) });
        } else if is_recorded && let Some(reply) = replies.pop() {
            // The start of a run is answered once it is recorded, as volumes are.
            ticket = Some(Ticket { volume: None, answer: to_adapter(reply) });
        }
        for reply in replies {
            self.answers.send(&peer, encoding, reply);
        }
        let recorder = recorder.filter(|_| is_recorded);
        match (recorder, ticket) {
            (Some(recorder), ticket) => {
                let kind = if is_volume { Kind::Volume } else { Kind::Control };
                let (topic, at_ns, data) = (WIRE, received_ns, Content::Frames(frames));
                let record = Record { topic, at_ns, data, kind, ticket };
                if let Err(ticket) = recorder.record(record) {
                    self.metrics.volumes_unrecorded.increment(u64::from(is_volume));
                    self.is_unrecorded(&recorder, &verdict.events, ticket, received_ns);
                }
            }
            (None, Some(ticket)) => self.answers.give(ticket),
            (None, None) => {}
        }
        // Only now: what comes of a message is recorded after it, so a restart that finds the
        // report of a volume has found the volume before.
        for event in verdict.events {
            self.happen(Happening::Event(event), received_ns);
        }
    }

    /// Sees to a message that is used and could not be recorded.
    fn is_unrecorded(
        &self,
        recorder: &Recorder,
        events: &[Event],
        ticket: Option<Ticket>,
        received_ns: u64,
    ) {
        if let Some(ticket) = ticket.filter(Ticket::is_owed_unrecorded) {
            self.answers.give(ticket);
        }
        for event in events {
            if let Event::Volume(_, volume) = event
                && !recorder.has_failed()
            {
                self.note_order(recorder, volume.header.index, received_ns);
            }
        }
    }

    /// Records that a volume was processed before it could be recorded. Its adapter sends it again,
    /// so it comes later in the recording than it was used.
    fn note_order(&self, recorder: &Recorder, index: TrIndex, at_ns: u64) {
        recorder.lose_order();
        let run = self.ingest.open_run().map(|run| run.name.to_string());
        let data = json!({ "run": run, "index": index }).to_string().into();
        let entry = Record { topic: ORDER, at_ns, data, kind: Kind::Control, ticket: None };
        if recorder.record(entry).is_err() {
            tracing::warn!(
                "the recording does not say that a volume was processed before its turn"
            );
        }
    }

    /// Hands a happening to the signal thread. Everything but the end of the daemon finds room.
    fn happen(&mut self, happening: Happening, received_ns: u64) {
        if let Err((happening, _)) = self.happenings.try_push((happening, received_ns)) {
            tracing::warn!(
                "the signal thread is too far behind to be told of {}; a restart with the same \
                 recording makes up for it",
                happening.name()
            );
        }
    }

    /// Reports to the operator that a message was not accepted.
    fn problem(&self, problem: &IngestError) {
        let level = match problem.disposition() {
            Disposition::SkipVolume | Disposition::HoldFeedback => "warning",
            Disposition::StopRun => "alarm",
        };
        self.metrics.messages_refused.increment(1);
        self.fanout.status(level, problem.to_string());
    }

    /// Raises an alarm when the disk of the recording hangs: it gives no error, and nothing is
    /// acknowledged meanwhile.
    fn look_after_disk(&mut self) {
        let Some(recorder) = &self.fanout.recorder else { return };
        let hangs = recorder.busy_for() > DISK_HANGS;
        if hangs == std::mem::replace(&mut self.disk_hangs, hangs) {
            return;
        }
        if hangs {
            self.fanout.status(
                "alarm",
                format!(
                    "the disk of the recording has not taken an entry for {} s; decoding continues, \
                     nothing is acknowledged, and the adapter keeps its volumes; check the disk or \
                     the share",
                    DISK_HANGS.as_secs()
                ),
            );
        } else if !recorder.has_failed() {
            self.fanout.status("info", "the disk of the recording answers again".to_owned());
        }
    }

    /// Sends heartbeats, and raises an alarm for an adapter that is silent during its run.
    fn look_after_peers(&mut self) {
        let (answers, instance) = (&self.answers, &self.instance);
        let silence = self.peers.look_after(|peer, encoding| {
            let ping = DaemonPing { instance: instance.clone() };
            answers.send(peer, encoding, ToAdapter::Ping(ping));
        });
        if silence.is_new {
            self.fanout.status(
                "alarm",
                format!(
                    "the scanner adapter has been silent for {:.0} s during a run; check its \
                     machine and cable; it keeps its volumes and sends them when it is back",
                    silence.lasted.as_secs_f64()
                ),
            );
        }
        self.look_after_disk();
        self.metrics.adapter_silence.set(silence.lasted.as_secs_f64());
        self.metrics.adapters.set(self.peers.len() as f64);
    }
}
