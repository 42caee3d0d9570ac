//! Images written again in another voxel order.

use std::path::Path;

use corticast_bold::{decode::Order, space::VoxelSpace, time::RepetitionTime, turn::Turn};
use corticast_images::nifti::{
    format::NiftiFormat,
    reader::NiftiReader,
    write::{NiftiWriter, write_3d},
};

/// An order of the axes, and which of them are reversed.
pub type Axes = [(usize, bool); 3];

/// Writes an image again in another voxel order; each voxel keeps its place in mm.
pub fn turn_file(path: &Path, axes: Axes) {
    let mut reader = NiftiReader::open(path).expect("a NIfTI file");
    let header = reader.header().clone();
    let (old, affine) = (header.space.matrix(), header.space.affine());
    let mut turned = *affine;
    for row in 0..3 {
        for (new, &(axis, reversed)) in axes.iter().enumerate() {
            let step = affine[row][axis];
            turned[row][new] = if reversed { -step } else { step };
            turned[row][3] += if reversed { step * (old[axis] as f64 - 1.0) } else { 0.0 };
        }
    }
    let space = VoxelSpace::new(axes.map(|(axis, _)| old[axis]), turned).expect("a NIfTI file");
    let sources = Turn::between(&header.space, &space).expect("a NIfTI file").sources(Order::F);
    let dtype = header.stored.on_wire();
    let size = dtype.size_bytes();
    let tr_s = header.repetition_time_s.unwrap_or(1.0);
    let format = NiftiFormat {
        space,
        repetition_time: RepetitionTime::from_secs(tr_s).expect("a NIfTI file"),
        dtype,
        slope: header.slope,
        intercept: header.intercept,
    };
    let mut volumes = Vec::new();
    while let Some(voxels) = reader.next_voxels().expect("a NIfTI file") {
        let turned = sources.iter().flat_map(|&at| voxels[at as usize * size..][..size].to_vec());
        volumes.push(turned.collect::<Vec<u8>>());
    }
    if header.is_4d {
        let mut writer = NiftiWriter::create(path, format).expect("a NIfTI file");
        volumes.iter().for_each(|volume| writer.write(volume).expect("a NIfTI file"));
        writer.finish().expect("a NIfTI file");
    } else {
        write_3d(path, format, &volumes[0]).expect("a NIfTI file");
    }
}
