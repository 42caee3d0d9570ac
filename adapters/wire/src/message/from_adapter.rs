//! Messages from an adapter to the daemon.

use bytes::Bytes;
use corticast_bold::run::RunHeader;
use serde::{Deserialize, Serialize};

use super::{
    error::MessageError,
    header::{Encoding, count, decode, encode, finite, text, time, volumes},
    protocol::SHOWN_CHARS,
    run::{RunWire, run_header, run_name, run_wire},
    volume::{VolumeHeader, VolumeMessage},
};
use crate::text::shorten;

/// Types an adapter sends.
const FROM_ADAPTER: &str = "`run`, `vol`, `mark`, `end`, `ping`";

/// `mark`: a trigger or an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Name of the run.
    #[serde(deserialize_with = "run_name", alias = "run_id")]
    pub run: String,
    /// Time of the event, in seconds since the start of index 0.
    pub time_s: f64,
    /// Name of the event, e.g. `ttl` or a trial type.
    pub name: String,
    /// Value of the event, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl Mark {
    /// Name of the scanner's trigger at the start of a volume.
    pub const TRIGGER: &str = "ttl";
    /// Name of a trigger that fits no volume.
    pub const OFF_BEAT: &str = "ttl-off-beat";

    /// Whether this is a trigger of the scanner, and not an event of the experiment.
    #[must_use]
    pub fn is_trigger(&self) -> bool {
        [Self::TRIGGER, Self::OFF_BEAT].contains(&self.name.as_str())
    }
}

/// `end`: a run is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Name of the run.
    #[serde(deserialize_with = "run_name", alias = "run_id")]
    pub run: String,
    /// Number of volumes the adapter sent, without the ones it dropped. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_sent: Option<u32>,
    /// The scanner's triggers. Absent: the adapter listened to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers: Option<TriggerCounts>,
}

/// The triggers of a run, and how the clock of its volumes drifted against them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TriggerCounts {
    /// Triggers that fit the beat of the volumes, one for each volume or dummy scan.
    pub n: u32,
    /// Triggers of slices, beside those that begin a volume.
    pub n_slice: u32,
    /// Volumes whose trigger did not come.
    pub n_missed: u32,
    /// Triggers that do not fit the beat.
    pub n_spurious: u32,
    /// Edges that followed another one too closely.
    pub n_bounces: u32,
    /// Triggers of dummy scans, or of volumes that never arrived.
    pub n_without_volume: u32,
    /// How much faster the volumes' clock runs than the triggers', in ms per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_ms_per_min: Option<f64>,
    /// Standard deviation of the triggers about that drift, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    /// Median time from a volume's trigger to the arrival of the volume, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_s: Option<f64>,
}

/// A message from an adapter.
#[derive(Clone, Debug, PartialEq)]
pub enum FromAdapter {
    /// A run starts.
    Run {
        /// Geometry and timing.
        header: RunHeader,
        /// The adapter continues this run after the daemon was restarted.
        resume: bool,
    },
    /// A volume.
    Volume(VolumeMessage),
    /// A trigger or event.
    Mark(Mark),
    /// The run is over.
    End(End),
    /// Heartbeat.
    Ping,
}

impl FromAdapter {
    /// The run that a volume, a mark or an end is for.
    #[must_use]
    pub fn run_name(&self) -> Option<&str> {
        match self {
            Self::Volume(volume) => Some(&volume.header.run),
            Self::Mark(mark) => Some(&mark.run),
            Self::End(end) => Some(&end.run),
            Self::Run { .. } | Self::Ping => None,
        }
    }

    /// Reads the frames of one message and returns the encoding of its header.
    ///
    /// # Errors
    ///
    /// Fails unless the frames are a complete message of a known type with valid values.
    /// [`VolumeMessage::check`] checks the sizes of a volume that depend on its run.
    pub fn parse(frames: &[Bytes]) -> Result<(Self, Encoding), MessageError> {
        let kind = frames.first().map(AsRef::as_ref).unwrap_or_default();
        let header = || frames.get(1).cloned().unwrap_or_default();
        let encoding = Encoding::of(&header());
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
                time("vol", "acquisition_time_s", header.acquisition_time_s)?;
                finite("vol", "slope", header.slope)?;
                finite("vol", "intercept", header.intercept)?;
                text(
                    "vol",
                    "scanner_wall_time",
                    header.scanner_wall_time.as_deref().unwrap_or(""),
                )?;
                Self::Volume(VolumeMessage { header, voxels: frames[2].clone() })
            }
            b"mark" => {
                count(frames, "mark", 2..=2, "2")?;
                let mark: Mark = decode("mark", &header(), encoding)?;
                time("mark", "time_s", Some(mark.time_s))?;
                finite("mark", "value", mark.value)?;
                text("mark", "name", &mark.name)?;
                Self::Mark(mark)
            }
            b"end" => {
                count(frames, "end", 2..=2, "2")?;
                let end: End = decode("end", &header(), encoding)?;
                volumes("end", "n_sent", end.n_sent)?;
                if let Some(triggers) = &end.triggers {
                    finite("end", "triggers.drift_ms_per_min", triggers.drift_ms_per_min)?;
                    finite("end", "triggers.jitter_ms", triggers.jitter_ms)?;
                    finite("end", "triggers.delay_s", triggers.delay_s)?;
                }
                Self::End(end)
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
