//! Messages ↔ frames. No sockets here: everything can be tested on bytes.
//!
//! Foreign bytes become one of the types below or a [`MessageError`] that says what was found
//! and what was expected; nothing panics and nothing is allocated from an unchecked length.

use bytes::Bytes;
use corticast_bold::{
    run::{InvalidEntity, RunEntities, RunHeader},
    space::{InvalidSpace, VoxelSpace},
    time::{InvalidRepetitionTime, RepetitionTime, TrIndex},
    volume::Volume,
};
use ndarray::{Array3, ShapeBuilder};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::text::shorten;

/// Version of this protocol, in `run` and `ready`.
pub const PROTOCOL: u32 = 1;
/// Longest header that is read, in bytes. A header holds a few hundred.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest text that is taken from a header, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// Characters of a foreign text that an error repeats.
const SHOWN_CHARS: usize = 40;

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    /// MessagePack map with named keys.
    #[default]
    MessagePack,
    /// JSON object.
    Json,
}

/// Why frames are not a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Too few or too many frames.
    #[error("a `{kind}` message has {expected} frames, got {found}")]
    FrameCount {
        /// Type of the message, as far as it is known.
        kind: String,
        /// Frames wanted.
        expected: &'static str,
        /// Frames that came.
        found: usize,
    },
    /// The first frame names no type we know.
    #[error("unknown message type {found:?}, expected one of {expected}")]
    UnknownType {
        /// The first frame, shortened and printable.
        found: String,
        /// The types of this direction.
        expected: &'static str,
    },
    /// The header is too long.
    #[error("the header holds {0} bytes, at most {MAX_HEADER_BYTES} are read")]
    HeaderTooLong(usize),
    /// The header cannot be parsed or lacks a key.
    #[error("the header of `{kind}` cannot be read: {reason}")]
    Header {
        /// Type of the message.
        kind: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A key holds a value that cannot be.
    #[error("`{key}` of `{kind}`: {reason}")]
    Value {
        /// Type of the message.
        kind: &'static str,
        /// Which key.
        key: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// The adapter speaks another protocol version.
    #[error("the adapter speaks protocol {found}, this daemon speaks {PROTOCOL}")]
    Protocol {
        /// Its version.
        found: u32,
    },
    /// The voxels are not as many bytes as the header promises.
    #[error("{tr} holds {found} bytes of voxels, its header promises {expected}")]
    Truncated {
        /// Which volume.
        tr: TrIndex,
        /// Bytes that came.
        found: usize,
        /// Bytes that matrix and dtype ask for.
        expected: usize,
    },
    /// The voxels were damaged on the way.
    #[error("{tr} has CRC-32 {found:#010x}, its header promises {expected:#010x}")]
    Checksum {
        /// Which volume.
        tr: TrIndex,
        /// CRC-32 of the bytes that came.
        found: u32,
        /// CRC-32 in the header.
        expected: u32,
    },
    /// The volume has another matrix than its run.
    #[error("{tr} has matrix {found:?}, its run has {expected:?}")]
    WrongMatrix {
        /// Which volume.
        tr: TrIndex,
        /// Its matrix.
        found: Vec<usize>,
        /// The run's matrix.
        expected: [usize; 3],
    },
}

/// How one voxel is stored. Always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// Signed 16 bit.
    #[serde(rename = "<i2", alias = "int16", alias = "i2")]
    Int16,
    /// Unsigned 16 bit.
    #[serde(rename = "<u2", alias = "uint16", alias = "u2")]
    UInt16,
    /// IEEE 754 single.
    #[serde(rename = "<f4", alias = "float32", alias = "f4")]
    Float32,
}

impl Dtype {
    /// Bytes of one voxel.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Int16 | Self::UInt16 => 2,
            Self::Float32 => 4,
        }
    }
}

/// Order of voxels in the voxels frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// `index = (x·ny + y)·nz + z`: x slowest, as numpy gives.
    #[default]
    C,
    /// x fastest, as NIfTI and DICOM store.
    F,
}

/// `vol`: one volume. With its voxels frame it is a [`VolumeMessage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeHeader {
    /// Name of the run, as `ready` gave it. A map of BIDS entities is taken too.
    #[serde(deserialize_with = "run_name", alias = "run_id")]
    pub run: String,
    /// Position in the run, from 0.
    pub index: TrIndex,
    /// Start of acquisition, seconds since the start of index 0. Absent: `index · TR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquisition_time_s: Option<f64>,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// Voxels along x, y, z. Absent: the run's matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Order of the voxels.
    #[serde(default)]
    pub order: Order,
    /// CRC-32/ISO-HDLC of the voxel bytes as sent. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
    /// `signal = slope · stored + intercept`. Absent or 0: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope: Option<f64>,
    /// See `slope`. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intercept: Option<f64>,
    /// Time of day by the scanner's clock, where it gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner_wall_time: Option<String>,
}

/// A volume as it crosses the wire: its bytes are those of the scanner.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeMessage {
    /// What the bytes are.
    pub header: VolumeHeader,
    /// Raw voxels.
    pub voxels: Bytes,
}

/// `run`: a run starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RunWire {
    #[serde(default = "protocol")]
    protocol: u32,
    #[serde(default)]
    session: String,
    run: RunNameWire,
    repetition_time_s: f64,
    matrix: [usize; 3],
    affine: [[f64; 4]; 4],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n_volumes: Option<u32>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    series_id: String,
    /// The adapter goes on with a run that a restarted daemon may already know.
    #[serde(default)]
    resume: bool,
}

fn protocol() -> u32 {
    PROTOCOL
}

/// A run is named by its BIDS entities, or by the name that they make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum RunNameWire {
    Name(String),
    Entities {
        sub: Label,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ses: Option<Label>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<Label>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Label>,
    },
}

/// `"01"` or `1`: people write both.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Label {
    Text(String),
    Number(u64),
}

impl Label {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl RunNameWire {
    fn entities(&self) -> Result<RunEntities, String> {
        match self {
            Self::Name(name) => RunEntities::from_name(name).ok_or_else(|| {
                format!(
                    "{:?} is no BIDS name such as sub-01_task-movie_run-1",
                    shorten(name, SHOWN_CHARS)
                )
            }),
            Self::Entities { sub, ses, task, run } => {
                let text = |label: &Option<Label>| label.as_ref().map(Label::text);
                RunEntities::checked(
                    &sub.text(),
                    text(ses).as_deref(),
                    text(task).as_deref(),
                    text(run).as_deref(),
                )
                .map_err(|error: InvalidEntity| error.to_string())
            }
        }
    }
}

fn run_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = RunNameWire::deserialize(deserializer)?;
    match name {
        // As the daemon gave it; it may carry the mark of a repeated run, which is no entity.
        RunNameWire::Name(name) if name.len() <= MAX_TEXT_BYTES => Ok(name),
        other => other.entities().map(|e| e.to_string()).map_err(serde::de::Error::custom),
    }
}

/// `mark`: a trigger or an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the run.
    #[serde(deserialize_with = "run_name", alias = "run_id")]
    pub run: String,
    /// When, in seconds since the start of index 0.
    pub time_s: f64,
    /// What, e.g. `ttl` or a trial type.
    pub name: String,
    /// A value that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// `end`: a run is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Name of the run.
    #[serde(deserialize_with = "run_name", alias = "run_id")]
    pub run: String,
    /// Volumes the adapter sent, dropped ones not counted. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_sent: Option<u32>,
}

/// What an adapter says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromAdapter {
    /// A run starts.
    Run {
        /// Geometry and timing.
        header: RunHeader,
        /// The adapter goes on with this run after the daemon was restarted.
        resume: bool,
    },
    /// A volume.
    Volume(VolumeMessage),
    /// A trigger or event.
    Mark(Mark),
    /// The run is over.
    End(End),
    /// Sign of life.
    Ping,
}

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

/// What the daemon answers.
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

/// Types an adapter sends.
const FROM_ADAPTER: &str = "`run`, `vol`, `mark`, `end`, `ping`";
/// Types the daemon answers.
const TO_ADAPTER: &str = "`ready`, `refused`, `ack`, `ping`";

impl FromAdapter {
    /// Reads the frames of one message and tells how its header was written.
    ///
    /// # Errors
    ///
    /// Fails on anything that is not a whole message of a known type with values that can be.
    /// Sizes of a volume that depend on its run are checked by [`VolumeMessage::check`].
    pub fn parse(frames: &[Bytes]) -> Result<(Self, Encoding), MessageError> {
        let kind = frames.first().map(AsRef::as_ref).unwrap_or_default();
        let header = || frames.get(1).cloned().unwrap_or_default();
        let encoding =
            if header().first() == Some(&b'{') { Encoding::Json } else { Encoding::MessagePack };
        let message = match kind {
            b"run" => {
                count(frames, "run", 2..=2, "2")?;
                let wire: RunWire = decode("run", &header(), encoding)?;
                let resume = wire.resume;
                Self::Run { header: run_header(wire)?, resume }
            }
            b"vol" => {
                count(frames, "vol", 3..=3, "3")?;
                let header: VolumeHeader = decode("vol", &header(), encoding)?;
                finite("vol", "acquisition_time_s", header.acquisition_time_s)?;
                finite("vol", "slope", header.slope)?;
                finite("vol", "intercept", header.intercept)?;
                Self::Volume(VolumeMessage { header, voxels: frames[2].clone() })
            }
            b"mark" => {
                count(frames, "mark", 2..=2, "2")?;
                let mark: Mark = decode("mark", &header(), encoding)?;
                finite("mark", "time_s", Some(mark.time_s))?;
                finite("mark", "value", mark.value)?;
                text("mark", "name", &mark.name)?;
                Self::Mark(mark)
            }
            b"end" => {
                count(frames, "end", 2..=2, "2")?;
                Self::End(decode("end", &header(), encoding)?)
            }
            b"ping" => {
                count(frames, "ping", 1..=2, "1 or 2")?;
                Self::Ping
            }
            _ => {
                return Err(MessageError::UnknownType {
                    found: shorten(&String::from_utf8_lossy(kind), SHOWN_CHARS),
                    expected: FROM_ADAPTER,
                });
            }
        };
        Ok((message, encoding))
    }

    /// The frames of this message.
    #[must_use]
    pub fn to_frames(&self, encoding: Encoding) -> Vec<Bytes> {
        match self {
            Self::Run { header, resume } => {
                vec![Bytes::from_static(b"run"), encode(&run_wire(header, *resume), encoding)]
            }
            Self::Volume(volume) => vec![
                Bytes::from_static(b"vol"),
                encode(&volume.header, encoding),
                volume.voxels.clone(),
            ],
            Self::Mark(mark) => vec![Bytes::from_static(b"mark"), encode(mark, encoding)],
            Self::End(end) => vec![Bytes::from_static(b"end"), encode(end, encoding)],
            Self::Ping => vec![Bytes::from_static(b"ping")],
        }
    }
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
        let encoding =
            if header.first() == Some(&b'{') { Encoding::Json } else { Encoding::MessagePack };
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

impl VolumeMessage {
    /// Checks the volume against its run: matrix, size, checksum.
    ///
    /// # Errors
    ///
    /// Says what does not fit. The next volume may.
    pub fn check(&self, space: &VoxelSpace) -> Result<(), MessageError> {
        let tr = self.header.index;
        if let Some(shape) = &self.header.shape
            && shape.as_slice() != space.matrix()
        {
            let found = shape.iter().copied().take(8).collect();
            return Err(MessageError::WrongMatrix { tr, found, expected: space.matrix() });
        }
        let expected = space.n_voxel() * self.header.dtype.size_bytes();
        if self.voxels.len() != expected {
            return Err(MessageError::Truncated { tr, found: self.voxels.len(), expected });
        }
        if let Some(expected) = self.header.crc32 {
            let found = crc32fast::hash(&self.voxels);
            if found != expected {
                return Err(MessageError::Checksum { tr, found, expected });
            }
        }
        Ok(())
    }

    /// The volume in scanner units. Its axes are x, y, z whatever the order on the wire; only
    /// the strides differ, so nothing is transposed.
    ///
    /// # Errors
    ///
    /// As [`VolumeMessage::check`], without the checksum.
    pub fn to_volume(&self, run: &RunHeader) -> Result<Volume, MessageError> {
        let VolumeHeader { index: tr, dtype, order, slope, intercept, .. } = self.header;
        let matrix = run.space.matrix();
        let expected = run.space.n_voxel() * dtype.size_bytes();
        let slope = slope.filter(|&s| s.abs() > 0.0).unwrap_or(1.0) as f32;
        let intercept = intercept.unwrap_or(0.0) as f32;
        let scale = |stored: f32| slope * stored + intercept;
        // A frame sits at any offset: read little-endian, never cast.
        let stored: Vec<f32> = match dtype {
            Dtype::Int16 => {
                pairs(&self.voxels).map(|b| scale(i16::from_le_bytes(b).into())).collect()
            }
            Dtype::UInt16 => {
                pairs(&self.voxels).map(|b| scale(u16::from_le_bytes(b).into())).collect()
            }
            Dtype::Float32 => {
                let (words, _) = self.voxels.as_chunks::<4>();
                words.iter().map(|&b| scale(f32::from_le_bytes(b))).collect()
            }
        };
        let shaped = match order {
            Order::C => Array3::from_shape_vec(matrix, stored),
            Order::F => Array3::from_shape_vec(matrix.f(), stored),
        };
        let voxels = shaped.map_err(|_| MessageError::Truncated {
            tr,
            found: self.voxels.len(),
            expected,
        })?;
        let acquisition_time_s =
            self.header.acquisition_time_s.unwrap_or_else(|| run.repetition_time.start_of(tr));
        Ok(Volume { tr, acquisition_time_s, voxels })
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> + '_ {
    bytes.as_chunks::<2>().0.iter().copied()
}

/// A header as bytes.
#[must_use]
pub fn encode<T: Serialize>(header: &T, encoding: Encoding) -> Bytes {
    let bytes = match encoding {
        Encoding::MessagePack => rmp_serde::to_vec_named(header).ok(),
        Encoding::Json => serde_json::to_vec(header).ok(),
    };
    bytes.expect("our own headers hold nothing that cannot be written").into()
}

/// A header from bytes.
///
/// # Errors
///
/// Fails when the header is too long, no map, or lacks a key.
pub fn decode<T: DeserializeOwned>(
    kind: &'static str,
    header: &[u8],
    encoding: Encoding,
) -> Result<T, MessageError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(MessageError::HeaderTooLong(header.len()));
    }
    match encoding {
        Encoding::MessagePack => rmp_serde::from_slice(header).map_err(|e| e.to_string()),
        Encoding::Json => serde_json::from_slice(header).map_err(|e| e.to_string()),
    }
    .map_err(|reason| MessageError::Header { kind, reason })
}

fn count(
    frames: &[Bytes],
    kind: &str,
    wanted: std::ops::RangeInclusive<usize>,
    expected: &'static str,
) -> Result<(), MessageError> {
    if wanted.contains(&frames.len()) {
        return Ok(());
    }
    Err(MessageError::FrameCount { kind: kind.to_owned(), expected, found: frames.len() })
}

fn finite(kind: &'static str, key: &'static str, value: Option<f64>) -> Result<(), MessageError> {
    match value {
        Some(value) if !value.is_finite() => {
            Err(MessageError::Value { kind, key, reason: format!("must be finite, got {value}") })
        }
        _ => Ok(()),
    }
}

fn text(kind: &'static str, key: &'static str, value: &str) -> Result<(), MessageError> {
    if value.len() > MAX_TEXT_BYTES || value.chars().any(char::is_control) {
        let reason = format!(
            "must be at most {MAX_TEXT_BYTES} bytes without control characters, got {:?}",
            shorten(value, SHOWN_CHARS)
        );
        return Err(MessageError::Value { kind, key, reason });
    }
    Ok(())
}

fn run_header(wire: RunWire) -> Result<RunHeader, MessageError> {
    if wire.protocol != PROTOCOL {
        return Err(MessageError::Protocol { found: wire.protocol });
    }
    let value = |key, reason: String| MessageError::Value { kind: "run", key, reason };
    for (key, content) in
        [("session", &wire.session), ("source", &wire.source), ("series_id", &wire.series_id)]
    {
        text("run", key, content)?;
    }
    Ok(RunHeader {
        session: wire.session,
        entities: wire.run.entities().map_err(|reason| value("run", reason))?,
        repetition_time: RepetitionTime::from_secs(wire.repetition_time_s)
            .map_err(|e: InvalidRepetitionTime| value("repetition_time_s", e.to_string()))?,
        space: VoxelSpace::new(wire.matrix, wire.affine).map_err(|error| {
            let key = match error {
                InvalidSpace::Matrix(_) => "matrix",
                InvalidSpace::Affine(_) => "affine",
            };
            value(key, error.to_string())
        })?,
        n_volumes: wire.n_volumes,
        source: wire.source,
        series_id: wire.series_id,
    })
}

fn run_wire(header: &RunHeader, resume: bool) -> RunWire {
    let label = |value: &Option<String>| value.clone().map(Label::Text);
    let RunEntities { sub, ses, task, run } = &header.entities;
    RunWire {
        protocol: PROTOCOL,
        session: header.session.clone(),
        run: RunNameWire::Entities {
            sub: Label::Text(sub.clone()),
            ses: label(ses),
            task: label(task),
            run: label(run),
        },
        repetition_time_s: header.repetition_time.as_secs(),
        matrix: header.space.matrix(),
        affine: *header.space.affine(),
        n_volumes: header.n_volumes,
        source: header.source.clone(),
        series_id: header.series_id.clone(),
        resume,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> RunHeader {
        let affine = [[3., 0., 0., -9.], [0., 3., 0., -9.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
        RunHeader {
            session: "s1".into(),
            entities: RunEntities::checked("01", None, Some("movie"), Some("1")).unwrap(),
            repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
            space: VoxelSpace::new([2, 3, 1], affine).unwrap(),
            n_volumes: Some(10),
            source: "test".into(),
            series_id: "a".into(),
        }
    }

    fn volume(order: Order) -> VolumeMessage {
        let voxels: Vec<u8> = (0_i16..6).flat_map(i16::to_le_bytes).collect();
        let header = VolumeHeader {
            run: header().run_id(),
            index: TrIndex(3),
            acquisition_time_s: None,
            dtype: Dtype::Int16,
            shape: Some(vec![2, 3, 1]),
            order,
            crc32: Some(crc32fast::hash(&voxels)),
            slope: Some(2.0),
            intercept: Some(1.0),
            scanner_wall_time: None,
        };
        VolumeMessage { header, voxels: voxels.into() }
    }

    #[test]
    fn every_message_reads_back_in_both_encodings() {
        let messages = [
            FromAdapter::Run { header: header(), resume: true },
            FromAdapter::Volume(volume(Order::C)),
            FromAdapter::Mark(Mark {
                run: "sub-01".into(),
                time_s: 1.5,
                name: "ttl".into(),
                value: None,
            }),
            FromAdapter::End(End { run: "sub-01".into(), n_sent: Some(9) }),
        ];
        for message in messages {
            for encoding in [Encoding::MessagePack, Encoding::Json] {
                let (back, found) = FromAdapter::parse(&message.to_frames(encoding)).unwrap();
                assert_eq!((back, found), (message.clone(), encoding));
            }
        }
        assert_eq!(
            FromAdapter::parse(&FromAdapter::Ping.to_frames(Encoding::Json)).unwrap().0,
            FromAdapter::Ping
        );
    }

    #[test]
    fn both_orders_put_a_voxel_where_it_belongs() {
        // C: index = (x·3 + y)·1 + z, so [1, 0, 0] is the fourth stored value, 3.
        let c = volume(Order::C).to_volume(&header()).unwrap();
        assert_eq!(c.voxels[[1, 0, 0]] as i32, 2 * 3 + 1);
        // F: x fastest, so [1, 0, 0] is the second stored value, 1.
        let f = volume(Order::F).to_volume(&header()).unwrap();
        assert_eq!(f.voxels[[1, 0, 0]] as i32, 2 + 1);
        assert_eq!(f.acquisition_time_s.to_bits(), 6.0_f64.to_bits(), "index 3 at TR 2 s");
    }

    #[test]
    fn damaged_short_and_misshapen_volumes_are_told_apart() {
        let space = &header().space;
        assert!(volume(Order::C).check(space).is_ok());
        let mut damaged = volume(Order::C);
        damaged.voxels = Bytes::from(vec![7; 12]);
        assert!(matches!(damaged.check(space), Err(MessageError::Checksum { .. })));
        let mut short = volume(Order::C);
        short.voxels = short.voxels.slice(..11);
        let message = short.check(space).unwrap_err().to_string();
        assert_eq!(message, "volume 3 holds 11 bytes of voxels, its header promises 12");
        let mut misshapen = volume(Order::C);
        misshapen.header.shape = Some(vec![3, 2, 1]);
        assert!(matches!(misshapen.check(space), Err(MessageError::WrongMatrix { .. })));
    }

    #[test]
    fn a_run_may_be_named_by_text_and_by_numbers() {
        let json = br#"{"run":{"sub":1,"task":"x"},"repetition_time_s":2,"matrix":[1,1,1],
            "affine":[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}"#;
        let frames = [Bytes::from_static(b"run"), Bytes::from_static(json)];
        let (FromAdapter::Run { header, .. }, _) = FromAdapter::parse(&frames).unwrap() else {
            panic!("a run");
        };
        assert_eq!(header.run_id(), "sub-1_task-x");
    }

    #[test]
    fn a_value_that_cannot_be_names_its_key() {
        let json = br#"{"run":"sub-01","repetition_time_s":2000,"matrix":[1,1,1],
            "affine":[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}"#;
        let frames = [Bytes::from_static(b"run"), Bytes::from_static(json)];
        let message = FromAdapter::parse(&frames).unwrap_err().to_string();
        assert!(message.contains("`repetition_time_s`") && message.contains("2000"), "{message}");
    }

    proptest! {
        /// Whatever comes, parsing gives a message or an error, never a panic.
        #[test]
        fn foreign_bytes_never_panic(
            kind in prop_oneof![Just(b"run".to_vec()), Just(b"vol".to_vec()),
                Just(b"mark".to_vec()), Just(b"end".to_vec()), any::<Vec<u8>>()],
            rest in proptest::collection::vec(any::<Vec<u8>>(), 0..4),
        ) {
            let frames: Vec<Bytes> =
                std::iter::once(kind).chain(rest).map(Bytes::from).collect();
            if let Ok((FromAdapter::Volume(volume), _)) = FromAdapter::parse(&frames)
                && volume.check(&header().space).is_ok()
            {
                prop_assert!(volume.to_volume(&header()).is_ok());
            }
            prop_assert!(ToAdapter::parse(&frames).is_ok() || ToAdapter::parse(&frames).is_err());
        }
    }
}
