//! The commands of operators: their effect, their entry in the recording, and the answer.

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{COMMAND_NEEDS, Inbox};
use crate::{
    clock::monotonic_ns,
    product::reports::RunState,
    recording::{
        format::COMMAND,
        recorder::{Answer, Record, Ticket},
        room::Kind,
    },
    signal::happening::Command,
};

impl Inbox {
    /// Obeys a command of an operator, or refuses it when too many wait for the signal thread;
    /// `status` and `abort` need no room. Returns whether the daemon shall end.
    ///
    /// Nothing here waits: the signal thread may hang or have died, and heartbeats, signals and the
    /// word that a thread has died come through the same task.
    pub(super) fn commanded(&mut self, command: Command, answer: oneshot::Sender<Value>) -> bool {
        let needs_room = !matches!(command, Command::Status | Command::Abort);
        if needs_room && self.happenings.n_free() < COMMAND_NEEDS {
            let message = "not obeyed: decoding is so far behind that earlier commands still wait \
                           for it; try again, or end the daemon with abort and start it again";
            tracing::warn!(?command, "command {message}");
            let refused = json!({ "ok": false, "command": command, "message": message });
            // The operator may have gone.
            answer.send(refused).ok();
            return false;
        }
        self.command(command, Some(answer));
        command == Command::Abort
    }

    /// Obeys a command. The operator is answered once the command is recorded.
    pub(super) fn command(&mut self, command: Command, answer: Option<oneshot::Sender<Value>>) {
        let received_ns = monotonic_ns();
        let open = self.ingest.open_run().map(|run| run.name.to_string());
        let happenings = self.ingest.command(command);
        match command {
            Command::Pause => self.is_paused = true,
            Command::Resume => self.is_paused = false,
            Command::Blank => self.is_blanked = true,
            Command::Unblank => self.is_blanked = false,
            Command::EndRun | Command::Abort | Command::Stop => self.peers.run_ended(),
            Command::Status => {}
        }
        let confirmed = self.confirmation(command, open.as_deref());
        let ticket = answer.map(|to| {
            let answer = Answer::Operator { to, answer: confirmed };
            Ticket { volume: None, answer }
        });
        if command != Command::Status {
            tracing::info!(?command, run = open, "command");
        }
        let recorder = self.fanout.recorder.as_ref().filter(|_| command != Command::Status);
        match (recorder, ticket) {
            (Some(recorder), ticket) => {
                let entry = json!({ "command": command, "run": open, "received_ns": received_ns });
                let (topic, kind, data) = (COMMAND, Kind::Control, entry.to_string().into());
                let entry = Record { topic, at_ns: received_ns, data, kind, ticket };
                if let Err(ticket) = recorder.record(entry) {
                    self.fanout.status(
                        "warning",
                        format!("the command {command:?} is in force but could not be recorded"),
                    );
                    ticket.into_iter().for_each(|ticket| self.answers.give(ticket.unrecorded()));
                }
            }
            (None, Some(ticket)) => self.answers.give(ticket),
            (None, None) => {}
        }
        // After the command is recorded, as with messages.
        for happening in happenings {
            self.happen(happening, received_ns);
        }
    }

    /// The answer to a command. `before` is the run that was open before it.
    fn confirmation(&self, command: Command, before: Option<&str>) -> Value {
        let message = match (command, before) {
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
        let has_results = of_last("n_results").and_then(Value::as_u64) > Some(0);
        let has_shown = of_last("has_shown").and_then(Value::as_bool) == Some(true);
        let has_result = is_last && (has_results || has_shown);
        match open {
            _ if self.is_paused => RunState::Paused,
            Some(_) if has_result => RunState::Feedback,
            Some(_) => RunState::WarmingUp,
            None if last.is_some() => RunState::Ended,
            None => RunState::Waiting,
        }
    }
}
