//! Tests of volumes of single slices, in the orders and numbers in which scanners export them.

use corticast_bold::decode::Dtype;

use super::*;
use crate::dicom::{
    geometry::Plane,
    kind::{ImageType, Kind},
    scan::{Echo, Hidden, Scale},
};

const N_SLICE: u32 = 4;
const N_VOLUME: u32 = 3;

fn scan(vendor: Vendor, numbers: Numbers, n_slice: Option<usize>) -> Scan {
    Scan {
        series_id: "a".into(),
        study: None,
        series_number: Some(1),
        instance: 1,
        vendor,
        numbers,
        time: None,
        content: None,
        repetition_s: Some(2.0),
        n_volumes: None,
        n_slice,
        image_type: ImageType::default(),
        echo: Echo::default(),
        scale: Scale::default(),
        is_still: false,
        names: Hidden::default(),
    }
}

/// The slice of a volume, whose voxel tells both.
fn part(volume: u32, slice: u32, numbers: Numbers) -> Part {
    let plane = Plane {
        position_mm: [0.0, 0.0, 3.0 * f64::from(slice)],
        orientation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        pixel_mm: [2.0, 2.0],
        slice_mm: Some(3.0),
    };
    Part {
        kind: Kind::Magnitude,
        image_type: ImageType::default(),
        echo: Echo::default(),
        numbers,
        time: None,
        content: None,
        is_counted: false,
        what: What::Slice(Slice {
            plane,
            time: None,
            size: [1, 1],
            dtype: Dtype::UInt16,
            scale: Scale::default(),
            voxels: vec![slice as u8, volume as u8],
        }),
    }
}

fn volume_by_volume() -> Vec<(u32, u32)> {
    (0..N_VOLUME).flat_map(|volume| (0..N_SLICE).map(move |slice| (volume, slice))).collect()
}

fn place_by_place() -> Vec<(u32, u32)> {
    (0..N_SLICE).flat_map(|slice| (0..N_VOLUME).map(move |volume| (volume, slice))).collect()
}

/// Index and voxels of each volume that is complete, or why it is not.
fn volumes(
    mut assembly: Assembly,
    order: &[(u32, u32)],
    numbers: impl Fn(u32, u32) -> Numbers,
    n_volumes: Option<u32>,
) -> Vec<Option<u32>> {
    let mut complete = Vec::new();
    for &(volume, slice) in order {
        complete.extend(assembly.add(part(volume, slice, numbers(volume, slice)), n_volumes));
    }
    complete.extend(assembly.flush());
    complete
        .into_iter()
        .map(|volume| {
            let volume = volume.ok()?;
            let What::Volume(stack) = volume.what else { panic!("a slice") };
            let index = volume.numbers.temporal? - 1;
            let expected: Vec<u8> = (0..N_SLICE as u8).flat_map(|z| [z, index as u8]).collect();
            assert_eq!(stack.voxels, expected, "volume {index}");
            Some(index)
        })
        .collect()
}

fn numbers(temporal: Option<u32>, acquisition: Option<u32>, instance: u32) -> Numbers {
    Numbers { temporal, acquisition, instance: Some(instance) }
}

const ALL: [Option<u32>; 3] = [Some(0), Some(1), Some(2)];

#[test]
fn ge_numbers_slices_volume_by_volume() {
    let of = |volume, slice| numbers(None, Some(1), volume * N_SLICE + slice + 1);
    let ge = || Assembly::new(&scan(Vendor::Ge, of(0, 0), Some(4)));
    assert_eq!(volumes(ge(), &volume_by_volume(), of, None), ALL);
    // Without the number of slices, the second volume shows how many the first had.
    let unknown = Assembly::new(&scan(Vendor::Ge, of(0, 0), None));
    assert_eq!(volumes(unknown, &volume_by_volume(), of, None), ALL);
    // A volume that comes late keeps its number.
    let late: Vec<(u32, u32)> = [0, 2, 1]
        .into_iter()
        .flat_map(|volume| (0..N_SLICE).map(move |slice| (volume, slice)))
        .collect();
    assert_eq!(volumes(ge(), &late, of, None), [Some(0), Some(2), Some(1)]);
    // A slice that never comes costs its volume only.
    let mut order = volume_by_volume();
    order.remove(2);
    assert_eq!(volumes(ge(), &order, of, None), [None, Some(1), Some(2)]);
}

#[test]
fn philips_numbers_slices_place_by_place() {
    let of = |volume, slice| numbers(Some(volume + 1), Some(21), slice * N_VOLUME + volume + 1);
    for order in [place_by_place(), volume_by_volume()] {
        let philips = Assembly::new(&scan(Vendor::Philips, of(0, 0), Some(4)));
        assert_eq!(volumes(philips, &order, of, None), ALL);
        // De-identified: no temporal position, no number of slices.
        let bare = |volume, slice| Numbers { temporal: None, ..of(volume, slice) };
        let philips = Assembly::new(&scan(Vendor::Philips, bare(0, 0), None));
        assert_eq!(volumes(philips, &order, bare, None), ALL);
        // A temporal position that is 1 everywhere.
        let one = |volume, slice| Numbers { temporal: Some(1), ..of(volume, slice) };
        let philips = Assembly::new(&scan(Vendor::Philips, one(0, 0), Some(4)));
        assert_eq!(volumes(philips, &order, one, Some(N_VOLUME)), ALL);
    }
}

#[test]
fn xa_numbers_acquisitions_and_begins_anew_within_each() {
    let of = |volume, slice| numbers(None, Some(volume + 1), slice + 1);
    for n_slice in [Some(4), None] {
        let xa = Assembly::new(&scan(Vendor::SiemensXa, of(0, 0), n_slice));
        assert_eq!(volumes(xa, &volume_by_volume(), of, None), ALL);
    }
}
