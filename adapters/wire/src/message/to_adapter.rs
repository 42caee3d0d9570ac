//! Answers of the daemon to an adapter.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    error::MessageError,
    header::{Encoding, decode, encode},
    protocol::SHOWN_CHARS,
};
use crate::text::shorten;

/// Types the daemon answers.
const TO_ADAPTER: &str = "`ready`, `refused`, `ack`, `ping`";

/// How safe a volume is once it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// There is no recording: acknowledged after ingest.
    None,
    /// Written and flushed to the operating system: survives the daemon, not a power cut.
    Flush,
    /// Synced to the disk.
    Fsync,
}

/// Why something was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The message cannot be read. Sending it again will not help.
    BadMessage,
    /// The bytes were damaged on the way: send it again.
    Damaged,
    /// The volume belongs to no run that is open: send `run` with `resume`, then the volumes.
    UnknownRun,
    /// The volume does not fit its run. It is lost.
    DoesNotFit,
    /// The run does not fit the model or the mask, or the session is over.
    RunRefused,
}

/// An answer of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAdapter {
    /// The run may start.
    Ready(Ready),
    /// The run may not start, or this volume cannot be used.
    Refused(Refused),
    /// This volume, or the end of this run, needs no resending.
    Ack(Ack),
    /// Sign of life.
    Ping(DaemonPing),
}

/// `ready`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The daemon's protocol version.
    pub protocol: u32,
    /// Name by which volumes refer to the run.
    pub run: String,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// First index the daemon does not have yet; lower ones cost nothing but time.
    pub next_index: u32,
    /// Another value means another daemon process, which has to be told of the run again.
    pub instance: String,
}

/// `refused`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The run it is about, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The volume it is about; absent when it is the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// For programs.
    pub code: RefusalCode,
    /// For people: what was found, what was expected.
    pub reason: String,
}

/// `ack`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Name of the run.
    pub run: String,
    /// Which volume; absent when it is the run's end.
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
    /// Fails on anything that is not a whole answer of a known type.
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
