//! The receive task: every message and command for a session passes through here, in one order.
//!
//! The recording and the signal thread keep that order, which is why commands pass through here
//! too.

use std::sync::Arc;

use bytes::Bytes;
use corticast_wire::{
    heartbeat::HEARTBEAT,
    message::{DaemonPing, Encoding, FromAdapter, RefusalCode, Refused, ToAdapter},
    socket::{PeerId, Router},
};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

use super::{
    answers::Answers,
    ingest::Ingest,
    peers::Peers,
    verdict::{Disposition, IngestError},
};
use crate::{
    clock::monotonic_ns,
    metrics::Metrics,
    outputs::{board::Board, fanout::Fanout},
    product::reports::RunState,
    recording::{
        format::{COMMAND, pack},
        recorder::Ticket,
    },
    signal::{
        happening::{Command, Event, Happening},
        thread::Happenings,
    },
};

/// A command, and the channel for its answer.
pub type Commanded = (Command, oneshot::Sender<Value>);

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
    pub board: Board,
    /// Set by the operator's last command, which the signal thread may not have processed yet.
    pub is_paused: bool,
    /// See `is_paused`.
    pub is_blanked: bool,
}

impl Inbox {
    /// Receives until a signal, `abort`, or `stop`.
    ///
    /// # Errors
    ///
    /// Fails when the socket is closed or no signal handler can be installed.
    pub async fn receive(&mut self, stop: Option<oneshot::Receiver<()>>) -> anyhow::Result<()> {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let stopped = async {
            let asked = match stop {
                Some(stop) => stop.await.is_ok(),
                None => false,
            };
            if !asked {
                // The sender was dropped or never existed: no request to stop can come.
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(stopped);
        let adapters = Arc::clone(&self.adapters);
        loop {
            tokio::select! {
                message = adapters.recv() => {
                    let (peer, frames) = message?;
                    self.message(&peer, frames).await;
                }
                Some((command, answer)) = self.commanded.recv() => {
                    let confirmed = self.command(command).await;
                    // The operator may have disconnected; the command is in force anyway.
                    answer.send(confirmed).ok();
                    if command == Command::Abort {
                        return Ok(());
                    }
                }
                _ = heartbeat.tick() => self.look_after_peers(),
                () = &mut stopped => break,
                _ = interrupted.recv() => break,
                _ = terminated.recv() => break,
            }
        }
        self.command(Command::Stop).await;
        Ok(())
    }

    async fn message(&mut self, peer: &PeerId, frames: Vec<Bytes>) {
        let received_ns = monotonic_ns();
        let (message, encoding) = match FromAdapter::parse(&frames) {
            Ok(parsed) => parsed,
            Err(error) => {
                let reason = error.to_string();
                self.problem(&IngestError::Message(error));
                let code = RefusalCode::BadMessage;
                let refused = Refused { run: None, index: None, code, reason };
                self.answers.send(peer, Encoding::Json, ToAdapter::Refused(refused));
                return;
            }
        };
        if self.peers.heard(peer, encoding, &message) {
            self.fanout.status("info", "the adapter is connected again".to_owned());
        }
        if message == FromAdapter::Ping {
            let ping = DaemonPing { instance: self.instance.clone() };
            self.answers.send(peer, encoding, ToAdapter::Ping(ping));
            return;
        }
        let is_volume = matches!(message, FromAdapter::Volume(_));
        let verdict = self.ingest.handle(message);
        if let Some(problem) = &verdict.problem {
            self.problem(problem);
        }
        if verdict.duplicate && is_volume {
            self.metrics.volumes_duplicate.increment(1);
        }
        for reply in verdict.replies {
            self.answers.send(peer, encoding, reply);
        }
        // A duplicate that is not in the recording yet is recorded, but gives no event.
        let is_recorded = !verdict.events.is_empty() || verdict.acknowledge.is_some();
        for event in verdict.events {
            match event {
                Event::RunEnded { .. } => {
                    self.peers.run_ended();
                }
                Event::RunStarted(_) => {
                    self.peers.run_started(peer);
                }
                _ => {}
            }
            self.happenings.push((Happening::Event(event), received_ns)).await;
        }
        let ticket = verdict.acknowledge.map(|(number, ack)| Ticket {
            peer: peer.clone(),
            encoding,
            number,
            ack,
        });
        if let Some(recorder) = &self.fanout.recorder {
            if is_recorded && !recorder.message(received_ns, pack(&frames), ticket) {
                self.metrics.volumes_unrecorded.increment(u64::from(is_volume));
            }
        } else if let Some(ticket) = ticket {
            self.answers.acknowledge(ticket);
        }
    }

    /// Obeys a command. Returns the answer to the operator.
    async fn command(&mut self, command: Command) -> Value {
        let received_ns = monotonic_ns();
        let open = self.ingest.open_run().map(|run| run.name.to_string());
        if command != Command::Status {
            tracing::info!(?command, run = open, "command");
            if let Some(recorder) = &self.fanout.recorder {
                let entry = json!({ "command": command, "run": open, "received_ns": received_ns });
                recorder.note(COMMAND, received_ns, entry.to_string());
            }
        }
        for happening in self.ingest.command(command) {
            self.happenings.push((happening, received_ns)).await;
        }
        match command {
            Command::Pause => self.is_paused = true,
            Command::Resume => self.is_paused = false,
            Command::Blank => self.is_blanked = true,
            Command::Unblank => self.is_blanked = false,
            Command::Status | Command::EndRun | Command::Abort | Command::Stop => {}
        }
        let message = match (command, &open) {
            (Command::EndRun, None) => "no run is open".to_owned(),
            (Command::EndRun, Some(run)) => format!("{run} has ended"),
            (Command::Abort, _) => "the daemon is stopping".to_owned(),
            _ => String::new(),
        };
        let still_open = self.ingest.open_run().map(|run| run.name.to_string());
        json!({
            "ok": true,
            "command": command,
            "run": still_open,
            "state": self.state(still_open.as_deref()),
            "blanked": self.is_blanked,
            "adapters": self.peers.len(),
            "message": message,
        })
    }

    /// State of the session while this run is open.
    fn state(&self, open: Option<&str>) -> RunState {
        let last = self.board.last("run");
        let of_last = |key: &str| last.as_ref().and_then(|report| report.get(key));
        let is_last = open.is_some() && of_last("run").and_then(Value::as_str) == open;
        let n_result = of_last("n_results").and_then(Value::as_u64).filter(|_| is_last);
        match open {
            _ if self.is_paused => RunState::Paused,
            Some(_) if n_result > Some(0) => RunState::Feedback,
            Some(_) => RunState::WarmingUp,
            None if last.is_some() => RunState::Ended,
            None => RunState::Waiting,
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

    /// Sends heartbeats, and raises an alarm for an adapter that is silent during its run.
    fn look_after_peers(&mut self) {
        let is_open = self.ingest.open_run().is_some();
        let (answers, instance) = (&self.answers, &self.instance);
        let silence = self.peers.look_after(is_open, |peer, encoding| {
            let ping = DaemonPing { instance: instance.clone() };
            answers.send(peer, encoding, ToAdapter::Ping(ping));
        });
        for silent in silence.newly_silent {
            self.fanout.status(
                "alarm",
                format!(
                    "the scanner adapter has been silent for {:.0} s during a run; check its \
                     machine and cable; it keeps its volumes and sends them when it is back",
                    silent.as_secs_f64()
                ),
            );
        }
        self.metrics.adapter_silence.set(silence.longest_s);
        self.metrics.adapters.set(self.peers.len() as f64);
    }
}
