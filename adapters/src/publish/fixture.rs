//! The run and the volumes that the tests of this room send.

use corticast_bold::{
    decode::{Dtype, Order},
    run::{RunEntities, RunHeader},
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_images::acquired::AcquiredVolume;

/// The run `sub-01` with this matrix of `int16` voxels.
pub(super) fn run(matrix: [usize; 3], repetition_time_s: f64, n_volumes: Option<u32>) -> RunHeader {
    let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    RunHeader {
        session: String::new(),
        entities: RunEntities::checked("01", None, None, None).unwrap(),
        repetition_time: RepetitionTime::from_secs(repetition_time_s).unwrap(),
        space: VoxelSpace::new(matrix, affine).unwrap(),
        n_volumes,
        source: "test".into(),
        series_id: "a".into(),
        slice_times: None,
    }
}

/// A volume of `n_voxel` zeros.
pub(super) fn volume(index: u32, n_voxel: usize) -> AcquiredVolume {
    AcquiredVolume {
        index: TrIndex(index),
        acquisition_time_s: None,
        dtype: Dtype::Int16,
        order: Order::C,
        slope: None,
        intercept: None,
        scanner_wall_time: None,
        voxels: vec![0; 2 * n_voxel].into(),
    }
}
