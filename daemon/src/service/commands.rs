//! The `control` socket: receives the commands of operators. JSON in, JSON out. The receive task
//! logs and records a command, and the operator gets the answer once the command is in force.

use bytes::Bytes;
use corticast_wire::socket::Router;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::{
    failpoint,
    intake::inbox::Commanded,
    outputs::{blanking::Blanking, board::Board},
    signal::happening::Command,
};

/// Takes commands until the task is aborted.
pub async fn serve(
    control: Router,
    commands: mpsc::Sender<Commanded>,
    blanking: Blanking,
    board: Board,
) {
    loop {
        let (peer, frames) = match control.recv().await {
            Ok(message) => {
                failpoint::point("control");
                message
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket is closed");
                return;
            }
        };
        let answer = match parse(frames.first().map(AsRef::as_ref).unwrap_or_default()) {
            Ok(command) => obey(command, &commands, &blanking, &board).await,
            Err(message) => json!({ "ok": false, "message": message }),
        };
        if let Err(error) = control.send(&peer, vec![Bytes::from(answer.to_string())]).await {
            tracing::debug!(%error, "could not send the answer to a command");
        }
    }
}

fn parse(frame: &[u8]) -> Result<Command, String> {
    const EXPECTED: &str =
        "expected {\"command\": \"status|pause|resume|blank|unblank|end_run|abort\"}";
    let value: Value = serde_json::from_slice(frame).map_err(|e| format!("{e}; {EXPECTED}"))?;
    let command = value.get("command").cloned().ok_or(EXPECTED)?;
    match serde_json::from_value(command.clone()) {
        Ok(Command::Stop) | Err(_) => Err(format!("unknown command {command}; {EXPECTED}")),
        Ok(command) => Ok(command),
    }
}

/// Passes the command to the receive task and waits for its answer. `blank` takes effect before
/// that, and `unblank` after: what is decoded in between is not shown.
async fn obey(
    command: Command,
    commands: &mpsc::Sender<Commanded>,
    blanking: &Blanking,
    board: &Board,
) -> Value {
    let was_blanked = blanking.is_blanked();
    if command == Command::Blank {
        blanking.blank(board).await;
    }
    let answer = pass_on(command, commands).await;
    let is_in_force = answer.get("ok").and_then(Value::as_bool) == Some(true);
    match command {
        Command::Blank if !is_in_force && !was_blanked => blanking.unblank(),
        Command::Unblank if is_in_force => blanking.unblank(),
        _ => {}
    }
    answer
}

async fn pass_on(command: Command, commands: &mpsc::Sender<Commanded>) -> Value {
    let (answer, answered) = oneshot::channel();
    let stopping = json!({ "ok": false, "command": command, "message": "the daemon is stopping" });
    if commands.send((command, answer)).await.is_err() {
        return stopping;
    }
    answered.await.unwrap_or(stopping)
}
