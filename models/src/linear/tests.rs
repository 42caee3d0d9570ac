//! The linear family on networks that are functions: no ONNX Runtime is needed. The same on ONNX
//! files is in `models/tests/linear.rs`.

use super::*;
use crate::{
    fixtures::{edited, model, window},
    network::in_memory::{InMemoryRuntime, Tensor},
};

/// A softmax classifier of three classes and four voxels: each of the first three voxels doubles
/// the odds of its class, the last makes class 0 eight times likelier.
fn softmax(inputs: &[Input<'_>]) -> Vec<Tensor> {
    let Input::F32(_, bold) = inputs[0] else { panic!("{:?}", inputs[0]) };
    let odds = [0, 1, 2].map(|class| {
        let extra = if class == 0 { 3.0 * bold[3] } else { 0.0 };
        (bold[class] + extra).exp2()
    });
    let sum: f32 = odds.iter().sum();
    vec![Tensor::new(&[1, 3], odds.map(|odds| odds / sum).to_vec())]
}

/// The decoder of `linear-3x4`'s manifest, with a function in place of its network.
fn open(network: impl Fn(&[Input<'_>]) -> Vec<Tensor> + Send + Sync + 'static) -> LinearDecoder {
    let manifest = Manifest::read(&model("linear-3x4")).unwrap();
    let runtime = InMemoryRuntime::default().with(Role::Decoder, network);
    LinearDecoder::open(&manifest, &runtime).unwrap()
}

#[test]
fn probabilities_come_with_the_names_of_their_classes() {
    let concepts = open(softmax).decode(&window(&[1.0, 0.0, 0.0, 0.0])).unwrap();
    let found: Vec<_> = concepts.iter().collect();
    assert_eq!(found, [("bottle", 0.5), ("cat", 0.25), ("chair", 0.25)]);
    assert!(concepts.is_exclusive);
}

#[test]
fn nan_is_an_error_that_costs_one_window() {
    let mut decoder = open(softmax);
    let error = decoder.decode(&window(&[0.0, f32::NAN, 0.0, 0.0])).unwrap_err();
    assert!(error.costs_one_window());
    let message = error.to_string();
    assert!(message.contains("1 of the input values are not finite"), "{message}");
    assert!(decoder.decode(&window(&[1.0; 4])).is_ok());
}

#[test]
fn numbers_that_are_not_probabilities_are_refused() {
    for (gives, lowest) in [([0.5, 0.5, 0.5], 0.5), ([1.5, -0.5, 0.0], -0.5)] {
        let mut decoder = open(move |_| vec![Tensor::new(&[1, 3], gives.to_vec())]);
        let error = decoder.decode(&window(&[0.0; 4])).unwrap_err();
        assert!(
            matches!(error, ModelError::NotProbabilities { lowest: found, .. }
                if (found - lowest).abs() < 1e-6),
            "{error}"
        );
    }
}

#[test]
fn a_window_of_other_voxels_is_refused() {
    let error = open(softmax).decode(&window(&[0.0; 5])).unwrap_err();
    assert!(matches!(error, ModelError::Window { found: [1, 5], expected: [1, 4] }));
}

#[test]
fn the_window_in_another_layout_is_decoded_the_same() {
    let mut wide = window(&[0.0, 9.0, 0.0, 9.0, 0.0, 9.0, 1.0, 9.0]);
    wide.bold.slice_collapse(ndarray::s![.., ..;2]);
    let concepts = open(softmax).decode(&wide).unwrap();
    assert!((concepts.probabilities[0] - 0.8).abs() < 1e-6);
}

#[test]
fn a_manifest_that_is_no_linear_decoder_is_refused() {
    for (from, to, expected) in [
        (
            "window_volumes = 1",
            "window_volumes = 2",
            "is `bold` f32 [1, 1, 4]; family `linear` needs `bold` f32 [1, 2, 4]",
        ),
        (", \"chair\"]", "]", "f32 [1, 3]; family `linear` needs `probabilities` f32 [1, 2]"),
        ("role = \"decoder\"", "role = \"brain\"", "is brain; family `linear` needs `decoder`"),
    ] {
        let folder = edited(from, to);
        let manifest = Manifest::read(folder.path()).unwrap();
        // Nothing is opened before the manifest fits, so there is no function to find.
        let error = LinearDecoder::open(&manifest, &InMemoryRuntime::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// The decoder of `linear-3x4` with `chair` for rest; the TR is 2 s.
fn open_with_evidence(
    network: impl Fn(&[Input<'_>]) -> Vec<Tensor> + Send + Sync + 'static,
) -> LinearDecoder {
    let folder = edited(
        "[[network]]",
        "[evidence]\nrest = \"chair\"\nblock_s = 8.0\nrest_s = 4.0\n\n[[network]]",
    );
    let manifest = Manifest::read(folder.path()).unwrap();
    let runtime = InMemoryRuntime::default().with(Role::Decoder, network);
    LinearDecoder::open(&manifest, &runtime).unwrap()
}

#[test]
fn evidence_is_added_up_over_the_windows_of_a_run() {
    let mut decoder = open_with_evidence(softmax);
    assert!(decoder.has_memory() && !open(softmax).has_memory());
    let at = |time_s: f64| corticast_bold::volume::Window {
        stimulus_time_s: time_s,
        ..window(&[1.0, 0.0, 0.0, 0.0])
    };
    // The network says 1/2, 1/4, 1/4.
    let first = decoder.decode(&at(0.0)).unwrap();
    let found: Vec<_> = first.iter().collect();
    assert_eq!(found, [("bottle", 2.0_f32 / 3.0), ("cat", 1.0_f32 / 3.0)]);
    // Expected: 1/2·3/4 + 1/4·1/2/2 = 7/16, 1/4·3/4 + 1/16 = 4/16; times the window: 7/32, 2/32.
    let second = decoder.decode(&at(2.0)).unwrap();
    assert!((second.probabilities[0] - 7.0 / 9.0).abs() < 1e-6, "{second:?}");
    decoder.start_run();
    assert_eq!(decoder.decode(&at(4.0)).unwrap(), first);
}

#[test]
fn a_window_that_fails_leaves_a_gap() {
    let mut decoder = open_with_evidence(softmax);
    let at = |time_s: f64, first: f32| corticast_bold::volume::Window {
        stimulus_time_s: time_s,
        ..window(&[first, 0.0, 0.0, 0.0])
    };
    let alone = decoder.decode(&at(0.0, 1.0)).unwrap();
    assert!(decoder.decode(&at(2.0, f32::NAN)).is_err());
    assert_eq!(decoder.decode(&at(4.0, 1.0)).unwrap(), alone);
}
