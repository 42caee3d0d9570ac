//! Linear decoders on ONNX files: the results worked out by hand, on the real runtime.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::path::Path;

use common::on_cpu;
use corticast_bold::{
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation, Window},
};
use corticast_models::{error::ModelError, linear::LinearDecoder, manifest::Manifest};
use ndarray::Array2;

fn open(name: &str) -> LinearDecoder {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/models");
    let manifest = Manifest::read(&models.join(name)).unwrap();
    LinearDecoder::open(&manifest, &on_cpu()).unwrap()
}

/// A window of one volume.
fn window(bold: &[f32]) -> Window {
    Window {
        tr: TrIndex(0),
        acquisition_time_s: 0.0,
        stimulus_time_s: 0.0,
        bold: Array2::from_shape_vec((1, bold.len()), bold.to_vec()).unwrap(),
        made_from: MadeFrom::Measured,
        interpolation: ShiftInterpolation::Nearest,
    }
}

#[test]
fn probabilities_are_those_worked_out_by_hand() {
    let mut decoder = open("linear-3x4");
    // Each voxel doubles the odds of its class; the last makes class 0 eight times likelier.
    for (bold, expected) in [
        ([0.0, 0.0, 0.0, 0.0], [1.0 / 3.0; 3]),
        ([1.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25]),
        ([0.0, 0.0, 2.0, 0.0], [1.0 / 6.0, 1.0 / 6.0, 4.0 / 6.0]),
        ([0.0, 0.0, 0.0, 1.0], [0.8, 0.1, 0.1]),
    ] {
        let concepts = decoder.decode(&window(&bold)).unwrap();
        assert_eq!(*concepts.names, ["bottle", "cat", "chair"]);
        for (found, expected) in concepts.probabilities.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {bold:?}");
        }
    }
}

#[test]
fn the_same_window_gives_the_same_bits() {
    let bits = |decoder: &mut LinearDecoder| -> Vec<u32> {
        let concepts = decoder.decode(&window(&[0.3, -1.7, 2.9, 0.01])).unwrap();
        concepts.probabilities.iter().map(|p| p.to_bits()).collect()
    };
    let (mut one, mut other) = (open("linear-3x4"), open("linear-3x4"));
    let first = bits(&mut one);
    assert_eq!(bits(&mut one), first);
    assert_eq!(bits(&mut other), first);
}

#[test]
fn nan_is_an_error_that_costs_one_window() {
    let error = open("nan").decode(&window(&[1.0; 4])).unwrap_err();
    assert!(error.costs_one_window());
    let message = error.to_string();
    assert!(message.contains("holds NaN at position 1"), "{message}");

    let mut decoder = open("linear-3x4");
    let message = decoder.decode(&window(&[f32::NAN, 0.0, 0.0, 0.0])).unwrap_err().to_string();
    assert!(message.contains("1 of the input values are not finite"), "{message}");
    assert!(decoder.decode(&window(&[1.0; 4])).is_ok());
}

#[test]
fn numbers_that_are_not_probabilities_are_refused() {
    let error = open("no-softmax").decode(&window(&[1.0, 1.0, 1.0, 0.0])).unwrap_err();
    assert!(matches!(error, ModelError::NotProbabilities { sum, .. } if sum > 2.0), "{error}");
}

#[test]
fn a_whole_brain_window_goes_through_the_noop_model() {
    let mut bold = vec![0.0; 64 * 64 * 32];
    bold[1] = 3.0_f32.ln();
    let concepts = open("noop-64x64x32").decode(&window(&bold)).unwrap();
    let (name, probability) = concepts.iter().last().unwrap();
    assert_eq!(name, "second");
    assert!((probability - 0.75).abs() < 1e-6);
}
