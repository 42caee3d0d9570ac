//! Reading `manifest.toml`: what is accepted, and the message for each refusal.

use super::*;
use crate::fixtures::{edited, model};
use corticast_bold::{
    normalise::{FrozenMean, Mode},
    spatial_mask::SpatialMask,
    time::RepetitionTime,
    volume::ShiftInterpolation,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn refusal(from: &str, to: &str) -> String {
    Manifest::read(edited(from, to).path()).unwrap_err().to_string()
}

#[test]
fn a_manifest_becomes_types() {
    let manifest = Manifest::read(&model("noop-64x64x32")).unwrap();
    assert_eq!(manifest.family, Family::Linear);
    assert_eq!(manifest.mask.space.matrix(), [64, 64, 32]);
    assert_eq!(manifest.mask.n_voxel, manifest.mask.space.n_voxel());
    assert!(manifest.signal.repetition_time.agrees_with(RepetitionTime::from_secs(0.1).unwrap()));
    assert_eq!(manifest.signal.shift, ShiftInterpolation::Nearest);
    assert_eq!(manifest.normalise.mode, Mode::None);
    assert_eq!(manifest.networks[0].classes, ["first", "second"]);
    assert_eq!(manifest.networks[0].outputs[0].shape, [1, 2]);
    assert!(manifest.provenance.contains_key("made_by"));
}

/// The manifests' hashes were made in Python, from the specification.
#[test]
fn a_masks_hash_is_the_one_that_another_implementation_gives() {
    for name in ["linear-3x4", "noop-64x64x32"] {
        let mask = Manifest::read(&model(name)).unwrap().mask;
        assert_eq!(SpatialMask::whole(mask.space).hash(), mask.hash, "{name}");
    }
}

#[test]
fn the_message_names_line_and_column() {
    let message = refusal("mode = \"none\"", "mode = \"nome\"");
    assert!(message.contains("manifest.toml:25:8: unknown variant `nome`"), "{message}");
    let message = refusal("window_volumes", "window_volume");
    assert!(message.contains(":22:1: unknown field `window_volume`"), "{message}");
    let message = refusal("hrf_delay_s = 0.0", "hrf_delay_s = 4000.0");
    assert!(message.contains("`hrf_delay_s` is 4000, expected 0 to 60"), "{message}");
    let message = refusal("[3.0, 0.0, 0.0, 0.0]", "[0.0, 0.0, 0.0, 0.0]");
    assert!(message.contains(":7:1: an affine must be finite"), "{message}");
    let message = refusal("repetition_time_s = 2.0", "repetition_time_s = 2000.0");
    assert!(message.contains(":19:21: a repetition time must be"), "{message}");
}

#[test]
fn another_format_is_named_before_its_keys() {
    let message = refusal("format = 2", "format = 3\nnews = 1");
    assert!(message.contains("manifest format 3, this version reads format 2"), "{message}");
    let message = refusal("format = 2", "format = 1");
    assert!(message.contains("export the model again"), "{message}");
}

#[test]
fn invalid_tensors_are_refused() {
    for (from, to, expected) in [
        ("[1, 1, 4]", "[1, 0, 4]", "a dimension is 0, expected 1 or more, or -1"),
        ("[1, 1, 4]", "[99999, 99999, 4]", "`bold` f32 [99999, 99999, 4] is too large"),
        ("inputs = [{", "inputs = []\nnews = [{", "unknown field `news`"),
        ("inputs = [", "inputs = [{ name = \"bold\", shape = [1] }, ", "`bold` appears twice"),
        ("shape = [1, 3]", "shape = [1, 3], dtype = \"u8\"", "unknown variant `u8`"),
    ] {
        let message = refusal(from, to);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn weights_beside_a_network_are_compared_too() {
    // SHA-256 of nothing, as in FIPS 180-4's examples.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let external = format!("external = [{{ file = \"w.bin\", sha256 = \"{empty}\" }}]");
    let folder = edited("inputs = ", &format!("{external}\ninputs = "));
    let path = folder.path().join("w.bin");
    std::fs::write(&path, b"").unwrap();
    let manifest = Manifest::read(folder.path()).unwrap();
    assert_eq!(manifest.networks[0].external, std::slice::from_ref(&path));
    std::fs::write(&path, b"changed").unwrap();
    assert!(matches!(Manifest::read(folder.path()), Err(ManifestError::Hash { .. })));
}

#[test]
fn a_family_has_exactly_its_own_section() {
    let message = refusal("family = \"linear\"", "family = \"neurons\"");
    assert!(message.contains("`neurons`: is missing"), "{message}");
}

#[test]
fn a_file_outside_the_folder_is_not_read() {
    for outside in ["../decoder.onnx", "/decoder.onnx", "a/../../decoder.onnx", "."] {
        let message = refusal("\"decoder.onnx\"", &format!("{outside:?}"));
        assert!(message.contains("inside the model's folder"), "{message}");
    }
}

#[test]
fn a_changed_file_is_refused_with_both_hashes() {
    let folder = edited("", "");
    let path = folder.path().join("decoder.onnx");
    // SHA-256 of nothing, as in FIPS 180-4's examples.
    std::fs::write(&path, b"").unwrap();
    let error = Manifest::read(folder.path()).unwrap_err();
    let ManifestError::Hash { path: found_path, found, expected } = error else {
        panic!("{error}")
    };
    assert_eq!(found_path, path);
    assert!(found.starts_with("e3b0c44298fc1c149afbf4c8996fb924"), "{found}");
    assert_ne!(found, expected);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Manifest::read(folder.path()), Err(ManifestError::Io { .. })));
}

#[test]
fn a_mode_has_exactly_its_own_keys() {
    let message = refusal("mode = \"none\"", "mode = \"baseline\"");
    assert!(message.contains("`normalise.baseline_volumes`: is missing"), "{message}");
    let message = refusal("mode = \"none\"", "mode = \"growing\"\nbaseline_volumes = 5");
    assert!(message.contains("`normalise.baseline_volumes`: is set"), "{message}");
    let message = refusal("mode = \"none\"", "mode = \"frozen\"");
    assert!(message.contains("`normalise.statistics`: is missing"), "{message}");
    let message = refusal("mode = \"none\"", "mode = \"none\"\nfrozen_mean = \"growing\"");
    assert!(message.contains("`normalise.frozen_mean`: is set"), "{message}");
}

#[test]
fn frozen_statistics_come_with_the_manifest() {
    // A safetensors file: length of its header, header, mean 1 2 3 4, sd 0 1 1 1.
    let header = r#"{"mean":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"sd":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([1.0_f32, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 1.0].iter().flat_map(|v| v.to_le_bytes()));
    let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();

    let frozen = format!(
        "mode = \"frozen\"\nfrozen_mean = \"growing\"\nstatistics = \"n.safetensors\"\n\
         statistics_sha256 = \"{sha256}\""
    );
    let folder = edited("mode = \"none\"", &frozen);
    std::fs::write(folder.path().join("n.safetensors"), &bytes).unwrap();
    let normalise = Manifest::read(folder.path()).unwrap().normalise;
    assert_eq!(normalise.frozen_mean, Some(FrozenMean::Growing));
    let statistics = normalise.statistics.unwrap();
    assert_eq!(statistics.mean, ndarray::array![1.0, 2.0, 3.0, 4.0]);
    assert_eq!(statistics.sd, ndarray::array![0.0, 1.0, 1.0, 1.0]);
}

#[test]
fn a_class_has_one_name() {
    let message = refusal("\"cat\"", "\"bottle\"");
    assert!(message.contains("`network.classes`: \"bottle\" appears twice"), "{message}");
}

proptest! {
    /// No damage to a manifest makes reading it panic.
    #[test]
    fn a_damaged_manifest_never_panics(at in 0_usize..740, bytes in prop::collection::vec(any::<u8>(), 0..8)) {
        let folder = edited("", "");
        let path = folder.path().join(FILE_NAME);
        let mut text = std::fs::read(&path).unwrap();
        text.splice(at..(at + bytes.len()).min(text.len()), bytes);
        std::fs::write(&path, &text).unwrap();
        if let Err(error) = Manifest::read(folder.path()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn evidence_that_does_not_fit_the_decoder_is_refused() {
    let with = |evidence: &str| {
        let section = format!("[evidence]\n{evidence}\n\n[[network]]");
        Manifest::read(edited("[[network]]", &section).path())
    };
    let manifest = with("rest = \"cat\"\nblock_s = 22.5\nrest_s = 2.0").unwrap();
    assert_eq!(manifest.evidence, Some(EvidenceFacts { rest: 1, block_s: 22.5, rest_s: 2.0 }));
    for (evidence, expected) in [
        ("rest = \"pause\"\nblock_s = 22.5\nrest_s = 10.0", "`evidence.rest`: is \"pause\""),
        ("rest = \"cat\"\nblock_s = 1.9\nrest_s = 10.0", "`evidence.block_s`: is 1.9, expected 2"),
        ("rest = \"cat\"\nblock_s = 22.5\nrest_s = nan", "`evidence.rest_s`: is NaN"),
        ("rest = \"cat\"\nblock_s = inf\nrest_s = 10.0", "`evidence.block_s`: is inf"),
        ("rest = \"cat\"\nblock_s = 22.5", "missing field `rest_s`"),
    ] {
        let message = with(evidence).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
