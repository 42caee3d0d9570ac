//! Which TR is believed, for one image in a dataset whose sidecars and header vary.

use std::fs;

use corticast_bold::{decode::Dtype, space::VoxelSpace};

use super::*;
use crate::nifti::header::StoredType;

/// A dataset with these sidecars, by path; returns the TR of its image.
fn tr_of(sidecars: &[(&str, &str)], header: &NiftiHeader) -> Result<f64, String> {
    let root = tempfile::tempdir().unwrap();
    let func = root.path().join("sub-01/func");
    fs::create_dir_all(&func).unwrap();
    fs::write(root.path().join("dataset_description.json"), "{}").unwrap();
    for (name, text) in sidecars {
        fs::write(root.path().join(name), text).unwrap();
    }
    let image = func.join("sub-01_task-rest_bold.nii.gz");
    repetition_time(&image, header, None).map(RepetitionTime::as_secs).map_err(|e| e.to_string())
}

fn header(n_volumes: u32, tr_s: f64, n_slices: usize) -> NiftiHeader {
    let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    assert_eq!(StoredType::Int16.on_wire(), Dtype::Int16);
    NiftiHeader {
        space: VoxelSpace::new([4, 4, n_slices], affine).unwrap(),
        n_volumes,
        is_4d: n_volumes > 1,
        is_pair: false,
        stored: StoredType::Int16,
        big_endian: false,
        voxel_offset_bytes: 352,
        slope: None,
        intercept: None,
        repetition_time_s: (tr_s > 0.0).then_some(tr_s),
        place_warning: None,
    }
}

const OWN: &str = "sub-01/func/sub-01_task-rest_bold.json";
const LESS: &str = "sub-01/func/task-rest_bold.json";
const ROOT: &str = "task-rest_bold.json";

#[track_caller]
fn gives(sidecars: &[(&str, &str)], header: &NiftiHeader, expected_s: f64) {
    let found = tr_of(sidecars, header).unwrap();
    assert!((found - expected_s).abs() < 1e-9, "{found} s, expected {expected_s} s");
}

#[track_caller]
fn refused(sidecars: &[(&str, &str)], header: &NiftiHeader, words: &[&str]) {
    let message = tr_of(sidecars, header).unwrap_err();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn the_closest_sidecar_comes_before_the_header() {
    let run = header(10, 1.0, 30);
    gives(&[(ROOT, r#"{"RepetitionTime": 2.0}"#)], &run, 2.0);
    let both = [(ROOT, r#"{"RepetitionTime": 2.0}"#), (OWN, r#"{"RepetitionTime": 0.8}"#)];
    gives(&both, &run, 0.8);
    // One that says nothing of time does not hide one that does.
    gives(&[(ROOT, r#"{"RepetitionTime": 2.0}"#), (OWN, r#"{"EchoTime": 0.03}"#)], &run, 2.0);
    gives(&[], &header(10, 1.5, 30), 1.5);
    gives(&[], &run, 1.0);
}

#[test]
fn sidecars_of_one_folder_that_differ_are_both_named() {
    let run = header(10, 2.0, 30);
    let differ = [(OWN, r#"{"RepetitionTime": 2.0}"#), (LESS, r#"{"RepetitionTime": 1.0}"#)];
    refused(&differ, &run, &["sub-01_task-rest_bold.json", "task-rest_bold.json in", "--tr"]);
    let same = [(OWN, r#"{"RepetitionTime": 2.0}"#), (LESS, r#"{"RepetitionTime": 2}"#)];
    gives(&same, &run, 2.0);
}

#[test]
fn a_file_of_one_volume_has_no_tr() {
    refused(&[], &header(1, 1.0, 30), &["a file of one volume", "pass --tr SECONDS"]);
    refused(&[], &header(1, 0.0, 30), &["a file of one volume"]);
    refused(&[], &header(10, 0.0, 30), &["pixdim[4] is 0"]);
    gives(&[(OWN, r#"{"RepetitionTime": 1.0}"#)], &header(1, 1.0, 30), 1.0);
    // SPM writes the TR there.
    gives(&[], &header(1, 2.2, 30), 2.2);
}

#[test]
fn sparse_acquisitions_have_no_tr_unless_told() {
    let run = header(4, 2.0, 30);
    let even = r#"{"VolumeTiming": [0, 3.5, 7, 10.5]}"#;
    refused(&[(OWN, even)], &run, &["VolumeTiming", "pass --tr 3.5"]);
    let uneven = r#"{"VolumeTiming": [0, 3.5, 9, 10.5]}"#;
    refused(&[(OWN, uneven)], &run, &["VolumeTiming", "no repetition"]);
    gives(&[(OWN, r#"{"RepetitionTime": 2, "VolumeTiming": [0, 2, 4, 6]}"#)], &run, 2.0);
    let other = r#"{"RepetitionTime": 2, "VolumeTiming": [0, 3, 6, 9]}"#;
    refused(&[(OWN, other)], &run, &["--tr 3"]);
}

#[test]
fn milliseconds_are_recognised_or_refused() {
    gives(&[(OWN, r#"{"RepetitionTime": 2000}"#)], &header(10, 2.0, 30), 2.0);
    let words = ["RepetitionTime is 2000, expected seconds", "pass --tr 2"];
    refused(&[(OWN, r#"{"RepetitionTime": 2000}"#)], &header(10, 1.0, 30), &words);
    refused(&[], &header(10, 2000.0, 30), &["2000 s", "pass --tr 2"]);
    refused(&[(OWN, r#"{"RepetitionTime": "2.0"}"#)], &header(10, 2.0, 30), &["expected seconds"]);
    refused(&[(OWN, r#"{"RepetitionTime": 0}"#)], &header(10, 2.0, 30), &["more than 0"]);
}

#[test]
fn a_time_of_one_shot_is_not_a_tr() {
    refused(&[], &header(10, 0.065, 32), &["0.065 s for 32 slices", "one shot"]);
    gives(&[], &header(10, 0.065, 1), 0.065);
    let slices = r#"{"RepetitionTime": 0.5, "SliceTiming": [0, 1.2, 0.6]}"#;
    refused(&[(OWN, slices)], &header(10, 2.0, 3), &["SliceTiming goes up to 1.2 s"]);
}

#[test]
fn a_byte_order_mark_does_no_harm_and_what_the_user_says_comes_first() {
    gives(&[(OWN, "\u{feff}{\"RepetitionTime\": 2.0}")], &header(10, 1.0, 30), 2.0);
    let image = Path::new("nowhere/sub-01_task-rest_bold.nii");
    let asked = repetition_time(image, &header(1, 1.0, 30), Some(1.25)).unwrap();
    assert_eq!(asked, RepetitionTime::from_secs(1.25).unwrap());
}
