//! Messages between the daemon and remote workers that make clips. This module has no sockets.
//!
//! ROUTER (the daemon binds) ↔ DEALER (a worker connects). A message is `[type][header]`, followed
//! by the payloads of its type; the header is a MessagePack map.
//!
//! | from a worker | payloads | |
//! |---|---|---|
//! | `hello` | | the worker's name, and the files and settings it makes clips with |
//! | `made` | clip, blurry frames, masks | a clip |
//! | `failed` | | the job gives no clip |
//! | `ping` | | once a second |
//!
//! | from the daemon | payloads | |
//! |---|---|---|
//! | `welcome` | | the worker is accepted and will get jobs |
//! | `refused` | | the worker is not accepted, and why |
//! | `job` | conditions, a safetensors file | make a clip of these conditions |
//! | `drop` | | newer conditions arrived: stop this job and answer `failed` |
//! | `who` | | the daemon does not know the worker: send `hello` |
//! | `ping` | | once a second |

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::message::{Encoding, MessageError, decode, encode};

/// Version of this protocol, in `hello`.
pub const WORK_PROTOCOL: u32 = 1;

/// A message from a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The worker introduces itself.
    Hello(Hello),
    /// A clip.
    Made(MadeHeader, MadePictures),
    /// The job gives no clip.
    Failed(Failed),
    /// Heartbeat.
    Ping,
}

/// A message from the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// The worker is accepted and will get jobs.
    Welcome,
    /// The worker is not accepted.
    Refused(WorkRefused),
    /// Make a clip of these conditions, a safetensors file.
    Job(Job, Bytes),
    /// Stop this job.
    Drop(JobId),
    /// Send `hello`.
    Who,
    /// Heartbeat.
    Ping,
}

/// `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of this protocol.
    pub protocol: u32,
    /// The worker's name, in clips and messages.
    pub name: String,
    /// Hash of the files that clips are made with.
    pub files: String,
    /// The settings that clips are made with.
    pub settings: String,
    /// Program, runtime and device that clips are made with. Workers with others are accepted, but
    /// the last bits of their clips can differ.
    #[serde(default)]
    pub made_with: String,
}

/// `refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRefused {
    /// What was found and what was expected.
    pub reason: String,
}

/// `job`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Number of the job.
    pub id: u64,
    /// Name of the run.
    pub run: String,
    /// Newest volume used for the conditions.
    pub index: u32,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
}

/// `drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobId {
    /// Number of the job.
    pub id: u64,
}

/// `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Number of the job.
    pub id: u64,
    /// The reason, for people.
    pub reason: String,
    /// The daemon asked for this job to be dropped.
    pub dropped: bool,
}

/// `made`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MadeHeader {
    /// Number of the job.
    pub id: u64,
    /// Generation mode, as in the configuration.
    pub mode: String,
    /// Number of sampling steps taken.
    pub steps: u32,
    /// Seed of the clip's noise.
    pub seed: u64,
    /// The caption, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The caption was too long and was cut.
    pub caption_cut: bool,
    /// Time taken to make the clip, nanoseconds.
    pub took_ns: u64,
    /// Number of frames.
    pub n_frame: u32,
    /// Pixels along an edge of a frame.
    pub edge: u32,
    /// Number of blurry frames.
    pub n_blurry: u32,
    /// Pixels along an edge of a blurry frame.
    pub blurry_edge: u32,
    /// Values along an edge of a mask; 0 if there is none.
    pub mask_edge: u32,
}

/// The payloads of `made`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePictures {
    /// Red, green and blue. Shape `[n_frame, edge, edge, 3]`.
    pub frames: Bytes,
    /// Red, green and blue. Shape `[n_blurry, blurry_edge, blurry_edge, 3]`.
    pub blurry: Bytes,
    /// Shape `[n_blurry, mask_edge, mask_edge]`.
    pub mask: Bytes,
}

const FROM_WORKER: &str = "`hello`, `made`, `failed`, `ping`";
const TO_WORKER: &str = "`welcome`, `refused`, `job`, `drop`, `who`, `ping`";

impl FromWorker {
    /// Reads the frames of one message.
    ///
    /// # Errors
    ///
    /// Fails when the frames are not a valid message from a worker; the error says what was found.
    pub fn parse(frames: &[Bytes]) -> Result<Self, MessageError> {
        Ok(match kind(frames) {
            b"hello" => Self::Hello(header("hello", frames, 2)?),
            b"made" => {
                let header: MadeHeader = header("made", frames, 5)?;
                let pictures = MadePictures {
                    frames: frames[2].clone(),
                    blurry: frames[3].clone(),
                    mask: frames[4].clone(),
                };
                header.check(&pictures)?;
                Self::Made(header, pictures)
            }
            b"failed" => Self::Failed(header("failed", frames, 2)?),
            b"ping" => Self::Ping,
            other => return Err(unknown(other, FROM_WORKER)),
        })
    }

    /// As frames.
    #[must_use]
    pub fn to_frames(&self) -> Vec<Bytes> {
        match self {
            Self::Hello(hello) => written("hello", hello),
            Self::Made(made, pictures) => {
                let mut frames = written("made", made);
                frames.push(pictures.frames.clone());
                frames.push(pictures.blurry.clone());
                frames.push(pictures.mask.clone());
                frames
            }
            Self::Failed(failed) => written("failed", failed),
            Self::Ping => vec![Bytes::from_static(b"ping")],
        }
    }
}

impl ToWorker {
    /// Reads the frames of one message.
    ///
    /// # Errors
    ///
    /// Fails when the frames are not a valid message from a daemon; the error says what was found.
    pub fn parse(frames: &[Bytes]) -> Result<Self, MessageError> {
        Ok(match kind(frames) {
            b"welcome" => Self::Welcome,
            b"refused" => Self::Refused(header("refused", frames, 2)?),
            b"job" => Self::Job(header("job", frames, 3)?, frames[2].clone()),
            b"drop" => Self::Drop(header("drop", frames, 2)?),
            b"who" => Self::Who,
            b"ping" => Self::Ping,
            other => return Err(unknown(other, TO_WORKER)),
        })
    }

    /// As frames.
    #[must_use]
    pub fn to_frames(&self) -> Vec<Bytes> {
        match self {
            Self::Welcome => vec![Bytes::from_static(b"welcome")],
            Self::Refused(refused) => written("refused", refused),
            Self::Job(job, conditions) => {
                let mut frames = written("job", job);
                frames.push(conditions.clone());
                frames
            }
            Self::Drop(id) => written("drop", id),
            Self::Who => vec![Bytes::from_static(b"who")],
            Self::Ping => vec![Bytes::from_static(b"ping")],
        }
    }
}

impl MadeHeader {
    /// Refuses pictures whose size in bytes does not match the header.
    fn check(&self, pictures: &MadePictures) -> Result<(), MessageError> {
        let picture = |n: u32, edge: u32, channels: u64| {
            u64::from(n)
                .checked_mul(u64::from(edge))
                .and_then(|n| n.checked_mul(u64::from(edge)))
                .and_then(|n| n.checked_mul(channels))
        };
        for (key, found, expected) in [
            ("n_frame", &pictures.frames, picture(self.n_frame, self.edge, 3)),
            ("n_blurry", &pictures.blurry, picture(self.n_blurry, self.blurry_edge, 3)),
            ("mask_edge", &pictures.mask, picture(self.n_blurry, self.mask_edge, 1)),
        ] {
            if Some(found.len() as u64) != expected {
                let reason = format!("the payload has {} bytes, which do not match", found.len());
                return Err(MessageError::Value { kind: "made", key, reason });
            }
        }
        Ok(())
    }
}

fn kind(frames: &[Bytes]) -> &[u8] {
    frames.first().map(AsRef::as_ref).unwrap_or_default()
}

fn header<T: DeserializeOwned>(
    kind: &'static str,
    frames: &[Bytes],
    n: usize,
) -> Result<T, MessageError> {
    if frames.len() != n {
        let expected = match n {
            2 => "2",
            3 => "3",
            _ => "5",
        };
        let found = frames.len();
        return Err(MessageError::FrameCount { kind: kind.to_owned(), expected, found });
    }
    decode(kind, &frames[1], Encoding::MessagePack)
}

fn written<T: Serialize>(kind: &'static str, header: &T) -> Vec<Bytes> {
    vec![Bytes::from_static(kind.as_bytes()), encode(header, Encoding::MessagePack)]
}

fn unknown(found: &[u8], expected: &'static str) -> MessageError {
    let found = String::from_utf8_lossy(&found[..found.len().min(32)]).into_owned();
    MessageError::UnknownType { found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made() -> (MadeHeader, MadePictures) {
        let header = MadeHeader {
            id: 7,
            mode: "live".into(),
            steps: 4,
            seed: 1,
            caption: Some("a cat".into()),
            caption_cut: false,
            took_ns: 5,
            n_frame: 2,
            edge: 1,
            n_blurry: 1,
            blurry_edge: 2,
            mask_edge: 1,
        };
        let pictures = MadePictures {
            frames: Bytes::from_static(&[0; 6]),
            blurry: Bytes::from_static(&[1; 12]),
            mask: Bytes::from_static(&[1]),
        };
        (header, pictures)
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let hello = Hello {
            protocol: WORK_PROTOCOL,
            name: "node3".into(),
            files: "ab".into(),
            settings: "live".into(),
            made_with: "cpu".into(),
        };
        let (header, pictures) = made();
        let failed = Failed { id: 7, reason: "NaN".into(), dropped: false };
        for message in [
            FromWorker::Hello(hello),
            FromWorker::Made(header, pictures),
            FromWorker::Failed(failed),
            FromWorker::Ping,
        ] {
            assert_eq!(FromWorker::parse(&message.to_frames()).unwrap(), message);
        }
        let job = Job { id: 7, run: "sub-01".into(), index: 3, stimulus_time_s: 1.5 };
        for message in [
            ToWorker::Welcome,
            ToWorker::Refused(WorkRefused { reason: "other files".into() }),
            ToWorker::Job(job, Bytes::from_static(b"conditions")),
            ToWorker::Drop(JobId { id: 7 }),
            ToWorker::Who,
            ToWorker::Ping,
        ] {
            assert_eq!(ToWorker::parse(&message.to_frames()).unwrap(), message);
        }
    }

    #[test]
    fn pictures_of_another_size_are_refused() {
        let (mut header, pictures) = made();
        header.n_frame = u32::MAX;
        header.edge = u32::MAX;
        let frames = FromWorker::Made(header, pictures).to_frames();
        let message = FromWorker::parse(&frames).unwrap_err().to_string();
        assert!(message.contains("`n_frame` of `made`: the payload has 6 bytes"), "{message}");
        let message = FromWorker::parse(&frames[..4]).unwrap_err().to_string();
        assert!(message.contains("has 5 frames, got 4"), "{message}");
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_or_read(
            kind in prop_oneof!["hello|made|failed|ping|welcome|refused|job|drop|who", ".*"],
            frames: Vec<Vec<u8>>,
        ) {
            let mut message = vec![Bytes::from(kind.into_bytes())];
            message.extend(frames.into_iter().map(Bytes::from));
            let _read = (FromWorker::parse(&message), ToWorker::parse(&message));
        }
    }
}
