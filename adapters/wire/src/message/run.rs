//! `run`: a run starts. Its keys on the wire, and the ways to name a run.

use corticast_bold::{
    run::{InvalidEntity, RunEntities, RunHeader, SliceTimes},
    settings::Axis,
    space::{InvalidSpace, MAX_AXIS_VOXELS, VoxelSpace},
    time::{InvalidRepetitionTime, RepetitionTime},
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    error::MessageError,
    header::{text, volumes},
    protocol::{MAX_TEXT_BYTES, PROTOCOL, SHOWN_CHARS},
};
use crate::text::shorten;

/// `run`: a run starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunWire {
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slice_times_s: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slice_axis: Option<Axis>,
    /// The adapter continues a run that a restarted daemon may already know.
    #[serde(default)]
    pub(super) resume: bool,
}

fn protocol() -> u32 {
    PROTOCOL
}

/// A run is named by its BIDS entities, or by the name built from them.
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

/// `"01"` or `1`: adapters send both.
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
                    "{:?} is not a BIDS name; expected a name such as sub-01_task-movie_run-1",
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

/// The name of a run in `vol`, `mark` and `end`.
pub(super) fn run_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = RunNameWire::deserialize(deserializer)?;
    match name {
        // The daemon's name for a repeated run has a suffix that is not a BIDS entity.
        RunNameWire::Name(name) if name.len() <= MAX_TEXT_BYTES => Ok(name),
        other => other.entities().map(|e| e.to_string()).map_err(serde::de::Error::custom),
    }
}

/// The header of a run, checked.
///
/// # Errors
///
/// Fails when a key holds an invalid value; the error names the key.
pub(super) fn run_header(wire: RunWire) -> Result<RunHeader, MessageError> {
    if wire.protocol != PROTOCOL {
        return Err(MessageError::Protocol { found: wire.protocol });
    }
    let value = |key, reason: String| MessageError::Value { kind: "run", key, reason };
    for (key, content) in
        [("session", &wire.session), ("source", &wire.source), ("series_id", &wire.series_id)]
    {
        text("run", key, content)?;
    }
    volumes("run", "n_volumes", wire.n_volumes)?;
    let slice_times = slice_times(wire.slice_times_s, wire.slice_axis)?;
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
        slice_times,
    })
}

/// Slice times, checked. Whether there is one for each slice is checked where they are used.
fn slice_times(
    times_s: Option<Vec<f64>>,
    axis: Option<Axis>,
) -> Result<Option<SliceTimes>, MessageError> {
    let value = |reason: String| MessageError::Value { kind: "run", key: "slice_times_s", reason };
    let Some(times_s) = times_s.filter(|times| !times.is_empty()) else { return Ok(None) };
    if times_s.len() > MAX_AXIS_VOXELS {
        let found = times_s.len();
        return Err(value(format!("must be at most {MAX_AXIS_VOXELS} numbers, got {found}")));
    }
    if let Some(found) = times_s.iter().find(|time| !(0.0..=SliceTimes::MAX_S).contains(*time)) {
        return Err(value(format!("must be 0 to {} s, got {found}", SliceTimes::MAX_S)));
    }
    Ok(Some(SliceTimes { times_s, axis: axis.unwrap_or_default() }))
}

pub(super) fn run_wire(header: &RunHeader, resume: bool) -> RunWire {
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
        slice_times_s: header.slice_times.as_ref().map(|slices| slices.times_s.clone()),
        slice_axis: header.slice_times.as_ref().map(|slices| slices.axis),
        resume,
    }
}
