//! Compares images with nibabel, and tests damaged images and that no text of a header is printed.

use super::*;
use crate::{
    adapter::real_data,
    dicom::{
        fixture::{self, Expected},
        parts::{What, parts},
        tags::{ACQUISITION_NUMBER, REPETITION_TIME},
    },
};

/// Slices and times of a mosaic.
fn tiles(image: &Image) -> (&VoxelSpace, &[f64]) {
    let Content::Tiles { space, slice_times_s, .. } = &image.content else { panic!("no mosaic") };
    (space, slice_times_s)
}

fn voxels(image: &Image, pixels: &[u8]) -> Vec<u8> {
    match parts(image, pixels).unwrap().remove(0).what {
        What::Volume(stack) => stack.voxels,
        What::Slice(slice) => slice.voxels,
    }
}

fn assert_is(image: &Image, expected: &Expected, name: &str) {
    let (space, slice_times_s) = tiles(image);
    assert_eq!(space.matrix(), expected.matrix, "{name}");
    let rows = space.affine().iter().flatten().zip(expected.affine.iter().flatten());
    let off = rows.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f64::max);
    assert!(off < 2e-6, "{name}: affine is off by {off} mm");
    assert!((image.scan.repetition_s.unwrap() - expected.repetition_time_s).abs() < 1e-12);
    assert_eq!(slice_times_s.len(), expected.slice_times_s.len(), "{name}");
    for (ours, theirs) in slice_times_s.iter().zip(&expected.slice_times_s) {
        assert!((ours - theirs).abs() < 1e-9, "{name}: slice time {ours}, expected {theirs}");
    }
}

/// The affine equals that of nibabel 5 (DICOM stores fourteen digits); see tests/data/dicom.
#[test]
fn headers_say_what_nibabel_says_and_the_ramp_is_cut_into_slices() {
    for (name, columns, k) in [("skyra", 384, 6), ("prisma", 320, 5)] {
        let bytes = fixture::original(name);
        let (image, pixels) = Image::parse(&bytes).unwrap();
        assert_is(&image, &fixture::nibabel()[name], name);
        assert_eq!(image.dtype(), Dtype::UInt16);
        let [nx, ny, nz] = tiles(&image).0.matrix();
        let voxels = voxels(&image, &pixels);
        assert_eq!(voxels.len(), nx * ny * nz * 2);
        for (at, stored) in voxels.as_chunks::<2>().0.iter().enumerate() {
            let (x, y, z) = (at % nx, at / nx % ny, at / nx / ny);
            let (column, row) = (z % k * nx + x, z / k * ny + y);
            let ramp = (row * columns + column) % 4096;
            assert_eq!(usize::from(u16::from_le_bytes(*stored)), ramp, "{x} {y} {z}");
        }
    }
}

#[test]
fn real_scans_are_what_nibabel_makes_of_them_to_the_voxel() {
    let Some(data) = real_data() else { return };
    let real: Vec<_> =
        fixture::nibabel().into_iter().filter(|(name, _)| name.contains('/')).collect();
    assert_eq!(real.len(), 14);
    for (name, expected) in real {
        let bytes = std::fs::read(data.join(&name)).unwrap();
        let (image, pixels) = Image::parse(&bytes).unwrap();
        assert_is(&image, &expected, &name);
        assert_eq!(crc32fast::hash(&voxels(&image, &pixels)), expected.crc32, "{name}");
    }
}

#[test]
fn every_truncation_is_incomplete_and_never_an_image() {
    let bytes = fixture::original("skyra");
    let step = bytes.len() / 60;
    let header = (0..2000).step_by(37);
    for cut in header.chain((0..bytes.len()).step_by(step)).chain([bytes.len() - 1]) {
        let error = Image::parse(&bytes[..cut]).unwrap_err();
        assert!(error.is_incomplete(), "cut at {cut}: {error}");
    }
}

#[test]
fn a_number_that_no_scanner_writes_is_no_number() {
    for number in ["0", "-3", "4000000000"] {
        let bytes = fixture::volume("prisma", 1, &[(ACQUISITION_NUMBER, number)]);
        let image = Image::parse(&bytes).unwrap().0;
        assert_eq!((image.scan.numbers.acquisition, image.scan.numbers.instance), (None, Some(1)));
    }
}

#[test]
fn no_error_repeats_a_text_of_the_header() {
    for tag in [REPETITION_TIME, ACQUISITION_NUMBER, IMAGE_POSITION] {
        let bytes = fixture::volume("skyra", 1, &[(tag, "Doe^Jane")]);
        let printed = match Image::parse(&bytes) {
            Ok((image, _)) => format!("{image:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!printed.contains("Doe") && !printed.contains("lanted"), "{printed}");
    }
}

/// A picture that a site compressed is the same volume, whatever the syntax.
#[test]
fn nine_transfer_syntaxes_give_the_same_voxels() {
    let Some(data) = real_data() else { return };
    let read = |n: u32| {
        let path = data.join(format!("siemens_transfer_syntaxes/{n}.dcm"));
        let bytes = std::fs::read(path).unwrap();
        let (image, pixels) = Image::parse(&bytes).unwrap();
        (tiles(&image).0.clone(), voxels(&image, &pixels))
    };
    let expected = read(1);
    (2..=9).for_each(|n| assert!(read(n) == expected, "file {n}"));
}
