//! Conditions as bytes: a safetensors file.
//!
//! Header and order are written here rather than by the `safetensors` crate, whose metadata
//! comes in another order each time: a recording that is replayed has to give the same bytes.
//! The header is padded to a multiple of 8 bytes, and tensors of wider types come first, so that
//! a reader that maps the file finds each aligned.

use std::path::Path;

use bytes::Bytes;
use corticast_models::conditions::Conditions;
use serde_json::{Map, Value, json};

use super::folder::{FolderError, NewFolder};
use crate::product::{ConditionsReport, Product};

/// Conditions with what they are about, as a safetensors file. Metadata values are text, as the
/// format has it.
#[must_use]
pub fn to_safetensors(
    conditions: &Conditions,
    run: &str,
    index: u32,
    stimulus_time_s: f64,
) -> Bytes {
    let sizes = &conditions.sizes;
    let (frames, edge, mask) = (sizes.n_frame, sizes.latent, sizes.mask);
    let f32s = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let i64s = |values: &Vec<i64>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tokens = vec![sizes.n_token, sizes.channels];
    let f32_tensor = |name, shape, values: Option<&Vec<f32>>| {
        values.map(|values| (name, "F32", shape, f32s(values)))
    };
    let ids = conditions.caption_ids.as_ref();
    let tensors = [
        ids.map(|ids| ("caption_ids", "I64", vec![ids.len()], i64s(ids))),
        f32_tensor("brain_tokens", tokens.clone(), Some(&conditions.brain_tokens)),
        f32_tensor("tokens", tokens, Some(&conditions.tokens)),
        f32_tensor("text_embed", vec![sizes.text_dim], Some(&conditions.text_embed)),
        f32_tensor("probabilities", vec![sizes.n_class], conditions.probabilities.as_ref()),
        f32_tensor("latents", vec![frames, 4, edge, edge], conditions.latents.as_ref()),
        conditions.mask.as_ref().map(|m| ("mask", "U8", vec![frames, mask, mask], m.clone())),
    ];

    let mut header = Map::new();
    let about = json!({
        "run": run,
        "index": index.to_string(),
        "stimulus_time_s": stimulus_time_s.to_string(),
    });
    header.insert("__metadata__".to_owned(), about);
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors.into_iter().flatten() {
        let offsets = [data.len(), data.len() + bytes.len()];
        let facts = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.to_owned(), facts);
        data.extend(bytes);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.reserve(header.len() + data.len());
    file.extend(header);
    file.extend(data);
    file.into()
}

/// A folder of conditions: `<run>/<index as 6 digits>.safetensors`.
#[derive(Debug)]
pub struct ConditionsFolder(NewFolder);

impl ConditionsFolder {
    /// Creates the folder.
    ///
    /// # Errors
    ///
    /// Fails when it is there with something in it, or when the disk does.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        Ok(Self(NewFolder::create("conditions", path)?))
    }

    /// Writes a product, if it is conditions. Nothing half written stands under a final name.
    ///
    /// # Errors
    ///
    /// Fails when the disk does; the next may succeed.
    pub fn deliver(&self, product: &Product) -> Result<(), FolderError> {
        let Product::Conditions(ConditionsReport { run, index, tensors, .. }) = product else {
            return Ok(());
        };
        self.0.write(run, &format!("{:06}.safetensors", index.0), tensors)
    }
}

#[cfg(test)]
mod tests {
    use corticast_models::conditions::Sizes;
    use safetensors::SafeTensors;

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
        assert_eq!(
            (tokens.shape(), &tokens.data()[..4]),
            (&[1, 3][..], &4.0_f32.to_le_bytes()[..])
        );
        assert!(file.len() <= 1024 + conditions().sizes.max_bytes());
    }

    #[test]
    fn the_same_conditions_give_the_same_bytes() {
        let file = || to_safetensors(&conditions(), "sub-01", 0, 0.0);
        assert_eq!(file(), file());
    }
}
