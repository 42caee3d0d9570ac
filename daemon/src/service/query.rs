//! The `query` socket: answers clients that join late. One frame in, `[name][header]` out.

use bytes::Bytes;
use corticast_wire::{
    message::{Encoding, encode},
    socket::Router,
};
use serde_json::{Value, json};

use crate::{failpoint, outputs::board::Board};

/// Answers until the task is aborted.
pub async fn serve(query: Router, board: Board) {
    loop {
        let (peer, frames) = match query.recv().await {
            Ok(message) => {
                failpoint::point("query");
                message
            }
            Err(error) => {
                tracing::warn!(%error, "the query socket is closed");
                return;
            }
        };
        let question = frames.first().cloned().unwrap_or_default();
        let encoding = match frames.get(1).map(AsRef::as_ref) {
            Some(b"json") => Encoding::Json,
            _ => Encoding::MessagePack,
        };
        let answer = answer(&String::from_utf8_lossy(&question), &board);
        let name = question.slice(..question.len().min(64));
        let frames: Vec<Bytes> = vec![name, encode(&answer, encoding)];
        if let Err(error) = query.send(&peer, frames).await {
            tracing::debug!(%error, "could not send the answer to a query");
        }
    }
}

fn answer(question: &str, board: &Board) -> Value {
    let known = |key: &str| board.description().get(key).cloned().unwrap_or_default();
    match question {
        "state" => board.last("run").unwrap_or_else(|| json!({ "state": "waiting" })),
        "last" => board.all(),
        "config" => json!({
            "config": known("config"),
            "effective": known("effective"),
            "model": known("model"),
        }),
        "version" => json!({
            "corticast": known("corticast"),
            "protocol": known("protocol"),
            "instance": known("instance"),
            "clocks": known("clocks"),
        }),
        other => match other.strip_prefix("last/").map(|topic| board.last(topic)) {
            Some(Some(last)) => last,
            Some(None) => Value::Null,
            None => json!({
                "error": "unknown query, expected state, last, last/<topic>, config or version"
            }),
        },
    }
}
