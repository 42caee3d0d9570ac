//! Tests late, duplicated and missing volumes, and volumes with different scaling.

use std::collections::VecDeque;

use corticast_bold::{run::RunEntities, space::VoxelSpace};

use super::*;
use crate::nifti::reader::NiftiReader;

struct Scanner {
    started: bool,
    volumes: VecDeque<AcquiredVolume>,
}

impl ScannerAdapter for Scanner {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(None);
        }
        // x runs to the left.
        let affine = [[-3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
        Ok(Some(RunHeader {
            session: String::new(),
            entities: RunEntities::checked("01", None, None, None)?,
            repetition_time: RepetitionTime::from_secs(1.0)?,
            space: VoxelSpace::new([2, 1, 1], affine)?,
            n_volumes: None,
            source: "test".into(),
            series_id: "a".into(),
            slice_times: None,
        }))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        Ok(self.volumes.pop_front())
    }
}

fn volume(index: u32, values: [i16; 2], slope: Option<f64>) -> AcquiredVolume {
    AcquiredVolume {
        index: TrIndex(index),
        acquisition_time_s: None,
        dtype: Dtype::Int16,
        order: Order::F,
        slope,
        intercept: None,
        scanner_wall_time: None,
        voxels: values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into(),
    }
}

fn dumped(volumes: Vec<AcquiredVolume>) -> (NiftiReader, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.nii.gz");
    let scanner = Scanner { started: false, volumes: volumes.into() };
    Dump::new(Box::new(scanner), &path).drain().unwrap();
    (NiftiReader::open(&path).unwrap(), folder)
}

#[test]
fn late_volumes_find_their_place_and_missing_ones_are_zero() {
    let late = [(2, [5, 6]), (0, [1, 2]), (0, [1, 2])];
    let (mut reader, _folder) =
        dumped(late.map(|(index, values)| volume(index, values, Some(2.0))).to_vec());
    assert_eq!(reader.header().slope, Some(2.0), "integers stay integers");
    let volumes: Vec<_> = std::iter::from_fn(|| reader.next_voxels().unwrap()).collect();
    // Flipped, so that x runs to the right.
    assert_eq!(volumes.concat(), [2, 0, 1, 0, 0, 0, 0, 0, 6, 0, 5, 0]);
}

#[test]
fn volumes_that_are_scaled_differently_become_float() {
    let (mut reader, _folder) =
        dumped(vec![volume(0, [1, 2], Some(2.0)), volume(1, [1, 2], Some(10.0))]);
    let floats: Vec<f32> = std::iter::from_fn(|| reader.next_voxels().unwrap())
        .flat_map(|v| {
            v.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(floats, [4.0, 2.0, 20.0, 10.0]);
}

#[test]
fn an_absurd_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let scanner = Scanner { started: false, volumes: vec![volume(4_000_000, [0, 0], None)].into() };
    let dump = Dump::new(Box::new(scanner), &folder.path().join("out.nii"));
    assert!(dump.drain().unwrap_err().to_string().contains("volume 4000000"));
}

#[test]
fn further_runs_get_their_name() {
    let path = with_suffix(Path::new("a/out.nii.gz"), "sub-01_run-2");
    assert_eq!(path, Path::new("a/out_sub-01_run-2.nii.gz"));
}

/// A scanner that sends volumes and is then silent for ever.
struct Silent {
    inner: Scanner,
    waits: std::sync::mpsc::SyncSender<()>,
    never: std::sync::mpsc::Receiver<()>,
}

impl ScannerAdapter for Silent {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        self.inner.start_run()
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        let next = self.inner.next_volume();
        if matches!(next, Ok(None)) {
            self.waits.send(()).ok();
            self.never.recv().ok();
        }
        next
    }
}

#[test]
fn a_dump_is_ended_while_its_adapter_waits_for_the_scanner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.nii");
    let volumes = vec![volume(0, [1, 2], None), volume(1, [3, 4], None)];
    let (waits, waiting) = std::sync::mpsc::sync_channel(1);
    let (go_on, never) = std::sync::mpsc::sync_channel(1);
    let inner = Scanner { started: false, volumes: volumes.into() };
    let dump = Dump::new(Box::new(Silent { inner, waits, never }), &path);
    let end = dump.end();
    let thread = std::thread::spawn(move || dump.drain());
    waiting.recv().unwrap();
    assert_eq!(end.finish().unwrap(), 2);
    assert_eq!(NiftiReader::open(&path).unwrap().header().n_volumes, 2);
    // What comes later changes nothing.
    go_on.send(()).unwrap();
    assert_eq!(thread.join().unwrap().unwrap(), 2);
    assert_eq!(NiftiReader::open(&path).unwrap().header().n_volumes, 2);
}
