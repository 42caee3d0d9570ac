//! Every real folder of DICOM files against what dcm2niix makes of it: shape, affine, repetition
//! time, slice times, the sum of each volume, and six voxels by their place in mm.

use std::{fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{DicomAdapter, DicomOptions, tests::options};
use crate::adapter::{contract, real_data};

/// Largest difference of an element of the affine, in mm. The reference has five decimals.
const AFFINE_MM: f64 = 1e-4;

/// Series whose slice times the reference guesses from the protocol, because the images hold none.
const GUESSED: [&str; 3] = ["2_FMRI_AX_ASC", "4_fMRIcontin_30x30x36", "ge_mr750_epi_DCM2NIIX"];

/// The DICOM files of a folder, unpacked.
fn unpacked(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        if let Some(name) = name.strip_suffix(".dcm.gz") {
            let mut plain = Vec::new();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
            fs::write(to.path().join(name), plain).unwrap();
        } else if name.ends_with(".dcm") {
            fs::write(to.path().join(name), bytes).unwrap();
        }
    }
    to
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().map(|v| v.as_f64().unwrap()).collect()
}

/// Signal of a voxel, from its stored value.
fn signals(volume: &corticast_images::acquired::AcquiredVolume) -> Vec<f64> {
    use corticast_bold::decode::Dtype;
    let (slope, intercept) = (volume.slope.unwrap_or(1.0), volume.intercept.unwrap_or(0.0));
    let bytes = &volume.voxels;
    let stored: Vec<f64> = match volume.dtype {
        Dtype::Int16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b).into()).collect()
        }
        Dtype::UInt16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b).into()).collect()
        }
        Dtype::Float32 => {
            bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect()
        }
    };
    stored.into_iter().map(|value| slope * value + intercept).collect()
}

/// Our affine in the reference's voxel order: each of its axes is one of ours, maybe turned round.
fn turned(ours: &[[f64; 4]; 4], theirs: &[[f64; 4]; 4], matrix: [usize; 3]) -> [[f64; 4]; 4] {
    let column = |a: &[[f64; 4]; 4], at: usize| [a[0][at], a[1][at], a[2][at]];
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut affine = *ours;
    for axis in 0..3 {
        let along = |at: &usize| dot(column(ours, *at), column(theirs, axis));
        let own = (0..3).max_by(|a, b| along(a).abs().total_cmp(&along(b).abs())).unwrap();
        let sign = along(&own).signum();
        for row in 0..3 {
            affine[row][axis] = sign * ours[row][own];
            if sign < 0.0 {
                affine[row][3] += ours[row][own] * (matrix[own] - 1) as f64;
            }
        }
    }
    affine
}

fn check(folder: &Path, name: &str, expected: &Value) {
    // An XA scanner numbers the series of single slices 7001, 7002, … for series 7.
    let series = expected["series"].as_u64().unwrap();
    let series = if series == 7001 { 7 } else { series }.to_string();
    let mut flags = vec!["--series", &series];
    if name.starts_with("801") {
        flags.extend(["--tr", "1"]);
    }
    if name.ends_with("fieldmaphz") {
        flags.extend(["--image-type", "FIELD_MAP"]);
    }
    let options = DicomOptions { once: true, ..options(folder, &flags) };
    let mut adapter = DicomAdapter::open(options).unwrap();
    let runs = contract::holds(&mut adapter);
    let shape: Vec<usize> = numbers(&expected["shape"]).iter().map(|n| *n as usize).collect();
    let theirs: [[f64; 4]; 4] = serde_json::from_value(expected["affine"].clone()).unwrap();
    let is_it = |affine: &[[f64; 4]; 4]| {
        let elements = affine.as_flattened().iter().zip(theirs.as_flattened());
        elements.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) <= AFFINE_MM
    };
    // Two series of one folder can have one number.
    let run = runs
        .iter()
        .find(|(header, _)| is_it(&turned(header.space.affine(), &theirs, header.space.matrix())));
    let (header, volumes) = run.unwrap_or_else(|| panic!("{name}: no run has the affine"));
    let mut sizes = [header.space.matrix(), [shape[0], shape[1], shape[2]]];
    sizes.iter_mut().for_each(|size| size.sort_unstable());
    assert_eq!(sizes[0], sizes[1], "{name}");
    assert_eq!(volumes.len(), shape.get(3).copied().unwrap_or(1), "{name}");
    let tr_s = expected["tr_s"].as_f64().unwrap();
    if !name.starts_with("801") {
        assert!((header.repetition_time.as_secs() - tr_s).abs() < 1e-5, "{name}");
    }
    // The header gives the slope of the field map as 0.24420024 Hz; dcm2niix uses 0.24420166.
    let off_hz = if name.ends_with("fieldmaphz") { 6e-6 * 1000.0 } else { 0.0 };
    for (volume, sum) in volumes.iter().zip(numbers(&expected["volume_sums"])) {
        let signals = signals(volume);
        let ours: f64 = signals.iter().sum();
        let tolerance = 2e-7 * sum.abs() + off_hz * signals.len() as f64;
        assert!((ours - sum).abs() <= tolerance, "{name}: sum {ours}, expected {sum}");
    }
    let signals = signals(&volumes[0]);
    let [nx, ny, nz] = header.space.matrix();
    for sample in expected["samples_volume0"].as_array().unwrap() {
        let place = numbers(&sample["world_mm"]);
        let far = |at: [usize; 3]| {
            let here = header.space.position_mm(at.map(|n| n as f64));
            here.iter().zip(&place).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
        };
        let all = (0..nz).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| [x, y, z])));
        let at = all.min_by(|a, b| far(*a).total_cmp(&far(*b))).unwrap();
        let value = signals[(at[2] * ny + at[1]) * nx + at[0]];
        let wanted = sample["value"].as_f64().unwrap();
        let tolerance = 1e-6 * wanted.abs() + off_hz;
        assert!((value - wanted).abs() <= tolerance, "{name}: {value}, not {wanted}");
    }
    check_slice_times(&adapter, header, name, &theirs, expected);
}

fn check_slice_times(
    adapter: &DicomAdapter,
    header: &corticast_bold::run::RunHeader,
    name: &str,
    theirs: &[[f64; 4]; 4],
    expected: &Value,
) {
    let wanted = numbers(&expected["slice_timing_s"]);
    if wanted.is_empty() || GUESSED.iter().any(|guessed| name.starts_with(guessed)) {
        return;
    }
    let mut times = adapter.slice_times_s(&header.series_id).to_vec();
    let sent = header.slice_times.as_ref().map(|slices| slices.times_s.clone());
    assert_eq!(sent.as_ref(), Some(&times), "{name}: in the header of the run");
    let along = (0..3).map(|row| header.space.affine()[row][2] * theirs[row][2]).sum::<f64>();
    let is_turned_round = along < 0.0
        || along.abs() < 1e-6
            && (0..3).map(|r| header.space.affine()[r][2] * theirs[r][1]).sum::<f64>() < 0.0;
    if is_turned_round {
        times.reverse();
    }
    assert_eq!(times.len(), wanted.len(), "{name}");
    // From the files of United Imaging the reference takes a day's seconds in single precision, which
    // has steps of 1/128 s in the evening.
    let tolerance_s = if name.starts_with("6_dti") { 2.0 / 128.0 } else { 5e-3 };
    for (ours, theirs) in times.iter().zip(&wanted) {
        assert!((ours - theirs).abs() <= tolerance_s, "{name}: {times:?}, expected {wanted:?}");
    }
}

#[test]
fn every_real_folder_is_what_dcm2niix_makes_of_it() {
    let Some(data) = real_data() else { return };
    let reference = fs::read(data.join("dcm2niix_reference.json")).unwrap();
    let reference: serde_json::Map<String, Value> = serde_json::from_slice(&reference).unwrap();
    let mut n = 0;
    for (folder, series) in &reference {
        let from = match folder.as_str() {
            "forrest_localizer_dicom_first_2_volumes" => {
                data.join("forrest_localizer/dicom_first_2_volumes")
            }
            other => data.join(other),
        };
        let folder = unpacked(&from);
        for (name, expected) in series.as_object().unwrap() {
            check(folder.path(), name, expected);
            n += 1;
        }
    }
    assert_eq!(n, 30);
}

/// Real files of each kind with bytes changed, cut and repeated give an image or an error.
#[test]
fn changed_bytes_of_real_files_never_panic() {
    let Some(data) = real_data() else { return };
    let files = [
        "siemens_xa60_enhanced/s04_PRODUCT__ep2d_bold__p3_sms2_001.dcm",
        "philips_enhanced/T2_.dcm",
        "uih_grid/00000001.dcm",
        "ge_slices/i2862280.MRDC.1",
        "siemens_transfer_syntaxes/3.dcm",
        "siemens_transfer_syntaxes/4.dcm",
        "siemens_transfer_syntaxes/5.dcm",
        "siemens_transfer_syntaxes/7.dcm",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    for file in files {
        let whole = fs::read(data.join(file)).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(6) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = random(256) as u8,
                    2 => bytes[at] = [0, 0xFF, 0x7F, 0x80][random(4)],
                    _ => {
                        let from = random(bytes.len());
                        let n = random(64).min(bytes.len() - from.max(at));
                        bytes.copy_within(from..from + n, at);
                    }
                }
            }
            super::read_header(&bytes).ok();
            super::read_file(&bytes).ok();
        }
    }
}
