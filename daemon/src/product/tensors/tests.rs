use proptest::prelude::*;

use super::*;

fn conditions() -> Conditions {
    let sizes = Sizes {
        n_frame: 2,
        n_token: 1,
        channels: 3,
        text_dim: 2,
        latent: 1,
        mask: 1,
        n_class: 2,
        caption_tokens: 4,
    };
    Conditions {
        sizes,
        brain_tokens: vec![1.0, 2.0, 3.0],
        tokens: vec![4.0, 5.0, 6.0],
        text_embed: vec![0.5, -0.5],
        probabilities: Some(vec![0.25, 0.75]),
        mask: Some(vec![0, 1]),
        latents: None,
        caption_ids: Some(vec![320, 49407]),
        caption: Some("a cat".to_owned()),
    }
}

#[test]
fn another_implementation_reads_what_was_written() {
    let file = to_safetensors(&conditions(), "sub-01_run-1", 7, 10.5);
    let (n, metadata) = SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(n % 8, 0);
    let about = metadata.metadata().as_ref().unwrap();
    assert_eq!(about["run"], "sub-01_run-1");
    assert_eq!((about["index"].as_str(), about["stimulus_time_s"].as_str()), ("7", "10.5"));
    let tensors = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.len(), 6);
    let ids = tensors.tensor("caption_ids").unwrap();
    assert_eq!(
        (ids.shape(), ids.data()),
        (&[2][..], &[64, 1, 0, 0, 0, 0, 0, 0, 255, 192, 0, 0, 0, 0, 0, 0][..])
    );
    let mask = tensors.tensor("mask").unwrap();
    assert_eq!((mask.shape(), mask.data()), (&[2, 1, 1][..], &[0, 1][..]));
    let tokens = tensors.tensor("tokens").unwrap();
    assert_eq!((tokens.shape(), &tokens.data()[..4]), (&[1, 3][..], &4.0_f32.to_le_bytes()[..]));
    assert!(file.len() <= 1024 + conditions().sizes.max_bytes());
}

#[test]
fn what_was_written_reads_back() {
    let conditions = conditions();
    let file = to_safetensors(&conditions, "sub-01", 0, 0.0);
    assert_eq!(from_safetensors(&file, &conditions.sizes).unwrap(), conditions);
}

#[test]
fn conditions_of_another_model_are_refused_with_the_difference() {
    let conditions = conditions();
    let file = to_safetensors(&conditions, "sub-01", 0, 0.0);
    let refused = |sizes| from_safetensors(&file, &sizes).unwrap_err().to_string();
    let message = refused(Sizes { channels: 4, ..conditions.sizes });
    assert!(message.contains("`brain_tokens` is F32 [1, 3], expected F32 [1, 4]"), "{message}");
    let message = refused(Sizes { caption_tokens: 1, ..conditions.sizes });
    assert!(message.contains("`caption_ids` is 2 ids, expected at most 1"), "{message}");
    let infinite = Conditions { text_embed: vec![f32::INFINITY, 0.0], ..conditions.clone() };
    let file = to_safetensors(&infinite, "sub-01", 0, 0.0);
    let message = from_safetensors(&file, &conditions.sizes).unwrap_err().to_string();
    assert!(message.contains("`text_embed` is inf"), "{message}");
}

proptest! {
    /// Arbitrary bytes, a truncated file and a changed byte never make the reader panic.
    #[test]
    fn foreign_bytes_are_refused_or_read(
        bytes: Vec<u8>,
        cut in 0_usize..900,
        at in 0_usize..900,
        to: u8,
    ) {
        let sizes = conditions().sizes;
        prop_assert!(from_safetensors(&bytes, &sizes).is_err());
        let mut file = to_safetensors(&conditions(), "sub-01", 0, 0.0).to_vec();
        let n = file.len();
        file[at % n] = to;
        let _read = from_safetensors(&file, &sizes);
        prop_assert!(from_safetensors(&file[..cut % n], &sizes).is_err());
    }
}

#[test]
fn the_same_conditions_give_the_same_bytes() {
    let file = || to_safetensors(&conditions(), "sub-01", 0, 0.0);
    assert_eq!(file(), file());
}
