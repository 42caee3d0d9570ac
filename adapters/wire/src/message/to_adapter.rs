//! Answers from the daemon to an adapter.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    error::MessageError,
    header::{Encoding, decode, encode},
    protocol::SHOWN_CHARS,
};
use crate::text::shorten;

/// Types of the daemon's answers.
const TO_ADAPTER: &str = "`ready`, `refused`, `ack`, `ping`";

/// How durable a volume is once it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Not recorded: acknowledged after ingest.
    None,
    /// Written and handed to the operating system: survives a crash of the daemon, but not a power
    /// cut.
    Flush,
    /// Synced to the disk.
    Fsync,
}

/// Reason of a refusal, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The message is invalid. Sending it again does not help.
    BadMessage,
    /// The bytes were damaged in transit: send the message again.
    Damaged,
    /// The volume's run is not open: send `run` with `resume`, then the volumes.
    UnknownRun,
    /// The volume does not fit its run. It is lost.
    DoesNotFit,
    /// The run does not fit the model or the mask, or the session is over.
    RunRefused,
}

/// An answer from the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAdapter {
    /// The run may start.
    Ready(Ready),
    /// The run may not start, or this volume was refused.
    Refused(Refused),
    /// The daemon has this volume, or the end of this run; the adapter need not send it again.
    Ack(Ack),
    /// Heartbeat.
    Ping(DaemonPing),
}

/// `ready`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The daemon's protocol version.
    pub protocol: u32,
    /// Name that volumes use for the run.
    pub run: String,
    /// How durable an acknowledged volume is.
    pub durability: Durability,
    /// First index the daemon does not have yet. Sending lower ones again is harmless.
    pub next_index: u32,
    /// Identifies the daemon process. When it changes, announce the run again.
    pub instance: String,
}

/// `refused`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The run concerned, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The refused volume. Absent: the run itself is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Reason for programs.
    pub code: RefusalCode,
    /// Reason for people: what was found and what was expected.
    pub reason: String,
}

/// `ack`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Name of the run.
    pub run: String,
    /// Which volume. Absent: the end of the run is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
}

/// `ping` from the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonPing {
    /// See [`Ready::instance`].
    pub instance: String,
}

impl ToAdapter {
    /// Reads the frames of one answer.
    ///
    /// # Errors
    ///
    /// Fails unless the frames are a complete answer of a known type.
    pub fn parse(frames: &[Bytes]) -> Result<Self, MessageError> {
        let kind = frames.first().map(AsRef::as_ref).unwrap_or_default();
        let header = frames.get(1).cloned().unwrap_or_default();
        let encoding = Encoding::of(&header);
        match kind {
            b"ready" => decode("ready", &header, encoding).map(Self::Ready),
            b"refused" => decode("refused", &header, encoding).map(Self::Refused),
            b"ack" => decode("ack", &header, encoding).map(Self::Ack),
            b"ping" => decode("ping", &header, encoding).map(Self::Ping),
            _ => Err(MessageError::UnknownType {
                found: shorten(&String::from_utf8_lossy(kind), SHOWN_CHARS),
                expected: TO_ADAPTER,
            }),
        }
    }

    /// The frames of this answer.
    #[must_use]
    pub fn to_frames(&self, encoding: Encoding) -> Vec<Bytes> {
        let (kind, header) = match self {
            Self::Ready(ready) => ("ready", encode(ready, encoding)),
            Self::Refused(refused) => ("refused", encode(refused, encoding)),
            Self::Ack(ack) => ("ack", encode(ack, encoding)),
            Self::Ping(ping) => ("ping", encode(ping, encoding)),
        };
        vec![Bytes::from_static(kind.as_bytes()), header]
    }
}
