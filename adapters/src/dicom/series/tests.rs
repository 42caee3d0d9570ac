//! Tests of acquisition times, and of which images are volumes.

use super::*;
use crate::dicom::{fixture, image::Image, numbering::NoNumber, parts::parts};

struct Read {
    scan: Scan,
    part: Part,
}

fn image(number: u32, time: &str) -> Read {
    let edits = [(fixture::ACQUISITION_TIME, time)];
    read(&fixture::volume("skyra", number, &edits), number)
}

/// The image, with voxels of its own.
fn read(bytes: &[u8], number: u32) -> Read {
    let (image, pixels) = Image::parse(bytes).unwrap();
    let mut part = parts(&image, &pixels).unwrap().remove(0);
    let What::Volume(stack) = &mut part.what else { panic!("no mosaic") };
    stack.voxels[0] = number as u8;
    Read { scan: image.scan, part }
}

/// The series of these images, and what was refused of each.
fn series(images: Vec<Read>) -> (Series, Vec<Vec<Refusal>>) {
    let mut series = Series::new(images[0].scan.clone(), None);
    let refusals = images.into_iter().map(|read| series.add(&read.scan, read.part)).collect();
    series.begin();
    (series, refusals)
}

/// Acquisition times, in units of a millisecond.
fn times_ms(images: Vec<Read>) -> Vec<i64> {
    let (mut series, _) = series(images);
    let held = std::mem::take(&mut series.held);
    let time = |volume| (series.acquisition_time_s(volume).unwrap() * 1e3).round() as i64;
    held.iter().map(time).collect()
}

#[test]
fn the_clock_is_believed_while_it_keeps_the_beat_also_past_midnight() {
    let images = vec![image(1, "235958.5"), image(2, "000000.010"), image(3, "000001.480")];
    assert_eq!(times_ms(images), [0, 1510, 2980]);
}

#[test]
fn a_clock_that_jumps_is_replaced_by_the_beat() {
    let images = vec![image(1, "100000"), image(2, "110000"), image(3, "100003.0")];
    assert_eq!(times_ms(images), [0, 1500, 3000]);
}

#[test]
fn a_clock_that_keeps_a_beat_of_its_own_is_believed() {
    let images = ["100000", "100004", "100008", "100012"];
    let images: Vec<Read> = (1..).zip(images).map(|(n, time)| image(n, time)).collect();
    assert_eq!(times_ms(images), [0, 1500, 8000, 12_000]);
}

#[test]
fn the_start_is_reckoned_back_when_the_first_volume_was_not_seen() {
    let images = vec![image(5, "100006.0"), image(6, "100007.6"), image(1, "100000")];
    assert_eq!(times_ms(images), [6000, 7600, 0]);
}

#[test]
fn an_image_is_one_volume_whatever_it_is_called() {
    let images = vec![image(1, "100000"), image(3, "100003"), image(3, "100003")];
    let (series, refusals) = series(images);
    assert_eq!((series.n_volume(), series.n_missing()), (2, 1));
    assert_eq!(refusals[2], [Refusal::Number(NoNumber::Copy)]);
    let (_, refusals) = self::series(vec![
        image(1, "100000"),
        read(&fixture::volume("skyra", 1, &[(fixture::ACQUISITION_TIME, "100000")]), 9),
    ]);
    assert_eq!(refusals[1], [Refusal::Number(NoNumber::Taken(TrIndex(0)))]);
}
