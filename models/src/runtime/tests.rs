//! ONNX networks: devices, contracts, damaged files.

use super::*;
use crate::{fixtures, manifest::Manifest, network::Input};
use proptest::prelude::*;

fn network(name: &str) -> NetworkFacts {
    Manifest::read(&fixtures::model(name)).unwrap().networks.remove(0)
}

fn on(device: Device) -> OnnxRuntime {
    OnnxRuntime { device, ..OnnxRuntime::default() }
}

#[test]
fn cuda_is_used_or_refused_and_auto_keeps_the_reason() {
    let network = network("linear-3x4");
    let auto = on(Device::Auto).open(&network).unwrap();
    match on(Device::Cuda).open(&network) {
        Ok(network) => {
            assert_eq!(network.provider(), Provider::Cuda);
            assert_eq!(auto.provider(), Provider::Cuda);
            assert_eq!(auto.fallback_reason(), None);
        }
        Err(ModelError::NoCuda { reason, .. }) => {
            assert_eq!(auto.provider(), Provider::Cpu);
            assert_eq!(auto.fallback_reason(), Some(reason.as_str()));
        }
        Err(other) => panic!("{other}"),
    }
    let cpu = on(Device::Cpu).open(&network).unwrap();
    assert_eq!((cpu.provider(), cpu.fallback_reason()), (Provider::Cpu, None));
}

#[test]
fn a_network_that_is_not_the_manifests_is_refused_with_both_shapes() {
    let error = on(Device::Cpu).open(&network("wrong-shape")).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("input is `bold` Tensor<f32>(1, 1, 5)"), "{message}");
    assert!(message.contains("manifest says `bold` f32 [1, 1, 4]"), "{message}");

    let mut renamed = network("linear-3x4");
    renamed.outputs[0].name = "labels".into();
    let message = on(Device::Cpu).open(&renamed).unwrap_err().to_string();
    assert!(message.contains("output is `probabilities`"), "{message}");
}

#[test]
fn metadata_of_the_file_can_be_read() {
    let network = on(Device::Cpu).open(&network("linear-3x4")).unwrap();
    assert_eq!(network.metadata("corticast.family"), Some("linear"));
}

#[test]
fn an_input_of_another_length_is_an_error() {
    let mut network = on(Device::Cpu).open(&network("linear-3x4")).unwrap();
    let mut run = |n_in: usize, n_out: usize| {
        let zeros = vec![0.0; n_in];
        network.run_into(&[Input::F32(&[1, 1, n_in], &zeros)], &mut vec![0.0; n_out])
    };
    assert!(matches!(run(5, 3), Err(ModelError::Run(_))));
    assert!(matches!(run(4, 2), Err(ModelError::OutputShape { .. })));
    assert!(run(4, 3).is_ok());
    assert!(network.run_into(&[], &mut [0.0; 3]).is_err());
}

#[test]
fn an_empty_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.onnx");
    std::fs::write(&path, b"").unwrap();
    let error = on(Device::Cpu).open(&NetworkFacts { path, ..network("linear-3x4") }).unwrap_err();
    assert!(error.to_string().contains("empty.onnx"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// No damage to a network makes opening it panic.
    #[test]
    fn a_damaged_network_never_panics(cut in 0_usize..312, at in 0_usize..312, byte: u8) {
        let network = network("linear-3x4");
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(&network.path).unwrap();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut / 2 * usize::from(cut % 2 == 0));
        let path = folder.path().join("damaged.onnx");
        std::fs::write(&path, &bytes).unwrap();
        match on(Device::Cpu).open(&NetworkFacts { path, ..network }) {
            Ok(network) => prop_assert_eq!(network.provider(), Provider::Cpu),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
