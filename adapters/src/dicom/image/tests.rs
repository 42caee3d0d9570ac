//! Compares images with nibabel, and tests damaged images and that no text of a header is printed.

use super::*;
use crate::{
    adapter::real_data,
    dicom::fixture::{self, Expected},
};

fn assert_is(image: &Image, expected: &Expected, name: &str) {
    assert_eq!(image.space.matrix(), expected.matrix, "{name}");
    let rows = image.space.affine().iter().flatten().zip(expected.affine.iter().flatten());
    let off = rows.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f64::max);
    assert!(off < 2e-6, "{name}: affine is off by {off} mm");
    assert!((image.repetition_time.as_secs() - expected.repetition_time_s).abs() < 1e-12);
    assert_eq!(image.slice_times_s.len(), expected.slice_times_s.len(), "{name}");
    for (ours, theirs) in image.slice_times_s.iter().zip(&expected.slice_times_s) {
        assert!((ours - theirs).abs() < 1e-9, "{name}: slice time {ours}, expected {theirs}");
    }
}

/// The affine equals that of nibabel 5 (DICOM stores fourteen digits); see tests/data/dicom.
#[test]
fn headers_say_what_nibabel_says_and_the_ramp_is_cut_into_slices() {
    for (name, columns, k) in [("skyra", 384, 6), ("prisma", 320, 5)] {
        let bytes = fixture::original(name);
        let (image, picture) = Image::parse(&bytes).unwrap();
        assert_is(&image, &fixture::nibabel()[name], name);
        assert_eq!((image.index, image.dtype), (TrIndex(0), Dtype::UInt16));
        let [nx, ny, nz] = image.space.matrix();
        let voxels = image.tiling.unmosaic(picture).unwrap();
        assert_eq!(voxels.len(), nx * ny * nz * VOXEL_BYTES);
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
        let (image, picture) = Image::parse(&bytes).unwrap();
        assert_is(&image, &expected, &name);
        let voxels = image.tiling.unmosaic(picture).unwrap();
        assert_eq!(crc32fast::hash(&voxels), expected.crc32, "{name}");
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
fn an_invalid_acquisition_number_is_refused_with_its_range() {
    for (number, found) in [("0", "0"), ("-3", "-3"), ("4000000000", "4000000000")] {
        let edits = [(fixture::ACQUISITION_NUMBER, number)];
        let error = Image::parse(&fixture::volume("prisma", 1, &edits)).unwrap_err();
        let expected = format!("AcquisitionNumber is {found}, expected 1 to 1000000");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_single_image_is_refused_for_what_it_is() {
    let Some(data) = real_data() else { return };
    let bytes = std::fs::read(data.join("ge_slices/i2862280.MRDC.1")).unwrap();
    let message = Image::parse(&bytes).unwrap_err().to_string();
    assert_eq!(message, "found a single image of 64 x 64 pixels, expected a Siemens mosaic");
}

#[test]
fn no_error_repeats_a_text_of_the_header() {
    for tag in [fixture::REPETITION_TIME, fixture::ACQUISITION_NUMBER, IMAGE_POSITION] {
        let bytes = fixture::volume("skyra", 1, &[(tag, "Doe^Jane")]);
        let printed = match Image::parse(&bytes) {
            Ok((image, _)) => format!("{image:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!printed.contains("Doe") && !printed.contains("lanted"), "{printed}");
    }
}

#[test]
fn the_wall_time_is_that_of_the_acquisition() {
    let image = Image::parse(&fixture::original("skyra")).unwrap().0;
    assert_eq!(image.wall_time().as_deref(), Some("12:47:50.327500"));
}
