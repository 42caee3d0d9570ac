//! A small recording for tests: two runs, the second a repeat of the first.

use std::path::Path;

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order},
    run::{RunEntities, RunHeader},
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_wire::message::{Encoding, End, FromAdapter, Mark, VolumeHeader, VolumeMessage};

use crate::recording::{
    file::RecordingFile,
    format::{COMMAND, SESSION, WIRE, pack},
};

pub(crate) const RUN: &str = "sub-01_task-rest_run-1";
pub(crate) const AGAIN: &str = "sub-01_task-rest_run-1+2";
pub(crate) const MATRIX: [usize; 3] = [2, 3, 1];

pub(crate) fn space() -> VoxelSpace {
    let affine = [[-3., 0., 0., 9.], [0., 3., 0., 0.], [0., 0., 4., -7.], [0., 0., 0., 1.]];
    VoxelSpace::new(MATRIX, affine).unwrap()
}

pub(crate) fn run(series: &str) -> FromAdapter {
    let header = RunHeader {
        session: String::new(),
        entities: RunEntities::from_name(RUN).unwrap(),
        repetition_time: RepetitionTime::from_secs(1.5).unwrap(),
        space: space(),
        n_volumes: None,
        source: "test".into(),
        series_id: series.into(),
        slice_times: None,
    };
    FromAdapter::Run { header, resume: false }
}

/// Stored voxels `first…first+5`, x fastest.
pub(crate) fn stored(first: i16) -> Vec<u8> {
    (first..first + 6).flat_map(i16::to_le_bytes).collect()
}

pub(crate) fn volume(run: &str, index: u32, first: i16) -> VolumeMessage {
    let header = VolumeHeader {
        run: run.to_owned(),
        index: TrIndex(index),
        acquisition_time_s: None,
        dtype: Dtype::Int16,
        shape: None,
        order: Order::F,
        crc32: None,
        slope: Some(0.5),
        intercept: Some(10.0),
        scanner_wall_time: None,
    };
    VolumeMessage { header, voxels: Bytes::from(stored(first)) }
}

/// The same volume with z fastest, as numpy would send it.
pub(crate) fn c_order(mut volume: VolumeMessage) -> VolumeMessage {
    let voxel = |at: usize| volume.voxels[2 * at..2 * at + 2].to_vec();
    // C order [x][y][z] of a 2 x 3 x 1 matrix whose F order is x + 2 y.
    let turned = [0, 2, 4, 1, 3, 5].into_iter().flat_map(voxel).collect::<Vec<_>>();
    volume.voxels = turned.into();
    volume.header.order = Order::C;
    volume
}

pub(crate) fn mark(run: &str, time_s: f64, name: &str, value: Option<f64>) -> FromAdapter {
    FromAdapter::Mark(Mark { run: run.to_owned(), time_s, name: name.to_owned(), value })
}

pub(crate) fn result(run: &str, index: u32) -> String {
    format!(
        r#"{{"run":"{run}","index":{index},"stimulus_time_s":{time},"acquisition_time_s":{time},"concepts":{{"cat":0.25,"house":0.75}},"made_from":"measured","blanked":false}}"#,
        time = 1.5 * f64::from(index)
    )
}

/// What to record.
pub(crate) enum Line {
    Wire(FromAdapter),
    Json(&'static str, String),
}

pub(crate) fn record(path: &Path, lines: &[Line]) {
    let mut file = RecordingFile::open(path).unwrap();
    for (at, line) in (0..).zip(lines) {
        match line {
            Line::Wire(message) => {
                let frames = message.to_frames(Encoding::MessagePack);
                file.write(WIRE, at, &pack(&frames)).unwrap();
            }
            Line::Json(topic, json) => file.write(topic, at, json.as_bytes()).unwrap(),
        }
        // A chunk each, so that a cut falls between entries and within them.
        file.flush(false).unwrap();
    }
    file.finish().unwrap();
}

/// Two runs. In the first, volume 2 comes before 1, volume 0 twice, and 3 never.
pub(crate) fn session() -> Vec<Line> {
    let wire = |volume: VolumeMessage| Line::Wire(FromAdapter::Volume(volume));
    let end = |run: &str| {
        Line::Wire(FromAdapter::End(End { run: run.into(), n_sent: None, triggers: None }))
    };
    vec![
        Line::Json(SESSION, r#"{"name":"pilot","corticast":"0.1.0"}"#.to_owned()),
        Line::Wire(run("a")),
        Line::Wire(mark(RUN, 3.0, "house", Some(1.5))),
        Line::Wire(mark(RUN, 0.0, "ttl", None)),
        wire(volume(RUN, 0, 0)),
        wire(volume(RUN, 2, 20)),
        Line::Json("concepts", result(RUN, 0)),
        wire(c_order(volume(RUN, 1, 10))),
        wire(volume(RUN, 0, 0)),
        Line::Json("concepts", result(RUN, 1)),
        Line::Json(COMMAND, r#"{"command":"pause"}"#.to_owned()),
        wire(volume(RUN, 4, 40)),
        Line::Wire(mark(RUN, 3.0, "house", Some(1.5))),
        end(RUN),
        Line::Wire(run("b")),
        wire(volume(AGAIN, 0, 7)),
        Line::Json("concepts", result(AGAIN, 0)),
        Line::Json("volume", format!(r#"{{"run":"{AGAIN}","index":0}}"#)),
        end(AGAIN),
    ]
}
