//! Conditions, and clips in a recording, as safetensors files.
//!
//! This file writes the header itself because the `safetensors` crate orders metadata
//! differently each time, and a replayed recording must give the same bytes. The header is
//! padded to a multiple of 8 bytes and tensors of wider types come first, so that every tensor
//! is aligned for readers that map the file.

use bytes::Bytes;
use corticast_models::conditions::{Conditions, Sizes};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use super::clips::ClipReport;

/// One tensor of a file: name, type, shape and bytes.
type Tensor = (&'static str, &'static str, Vec<usize>, Vec<u8>);

/// Conditions as a safetensors file; run, index, stimulus time and caption are metadata. The
/// format allows only text as metadata values.
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
    let mut about = Map::new();
    about.insert("run".to_owned(), run.into());
    about.insert("index".to_owned(), index.to_string().into());
    about.insert("stimulus_time_s".to_owned(), stimulus_time_s.to_string().into());
    if let Some(caption) = &conditions.caption {
        about.insert("caption".to_owned(), caption.as_str().into());
    }
    write(about, tensors.into_iter().flatten())
}

/// A clip as a safetensors file, with all fields of its report as metadata.
#[must_use]
pub fn clip_to_safetensors(clip: &ClipReport) -> Bytes {
    let (pictures, n_blurry) = (&clip.pictures, clip.pictures.n_blurry());
    let rgb = |n, edge| vec![n, edge, edge, 3];
    let mask = vec![n_blurry, pictures.mask_edge, pictures.mask_edge];
    let tensors: [Tensor; 3] = [
        ("frames", "U8", rgb(clip.n_frame, clip.edge), pictures.frames.to_vec()),
        ("blurry", "U8", rgb(n_blurry, pictures.blurry_edge), pictures.blurry.to_vec()),
        ("mask", "U8", mask, pictures.mask.to_vec()),
    ];
    let about = match serde_json::to_value(clip) {
        Ok(Value::Object(about)) => about,
        _ => Map::new(),
    };
    let as_text = |value: Value| match value {
        Value::String(text) => Value::String(text),
        other => Value::String(other.to_string()),
    };
    let about = about.into_iter().map(|(key, value)| (key, as_text(value))).collect();
    write(about, tensors.into_iter().filter(|(.., bytes)| !bytes.is_empty()))
}

fn write(about: Map<String, Value>, tensors: impl Iterator<Item = Tensor>) -> Bytes {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), Value::Object(about));
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
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

/// Why a file does not hold conditions of the expected sizes.
#[derive(Debug, thiserror::Error)]
pub enum NotConditions {
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {0}")]
    File(#[from] SafeTensorError),
    /// A tensor is missing, or its type, shape or values are wrong.
    #[error("`{name}` is {found}, expected {expected}")]
    Tensor {
        /// Name of the tensor.
        name: &'static str,
        /// Found type and shape, or value.
        found: String,
        /// Expected type and shape, or values.
        expected: String,
    },
}

/// Reads conditions of the given sizes from a safetensors file that is not trusted.
///
/// # Errors
///
/// Fails when the bytes are not a safetensors file, a tensor is missing or has another type or
/// shape, or a value is not finite.
pub fn from_safetensors(bytes: &[u8], sizes: &Sizes) -> Result<Conditions, NotConditions> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let caption = metadata.metadata().as_ref().and_then(|about| about.get("caption").cloned());
    let tensors = SafeTensors::deserialize(bytes)?;
    let find = |name: &'static str, dtype: Dtype, shape: &[usize]| {
        let Ok(view) = tensors.tensor(name) else { return Ok(None) };
        if view.dtype() == dtype && view.shape() == shape {
            return Ok(Some(view.data().to_vec()));
        }
        Err(NotConditions::Tensor {
            name,
            found: format!("{:?} {:?}", view.dtype(), view.shape()),
            expected: format!("{dtype:?} {shape:?}"),
        })
    };
    let f32s = |name: &'static str, shape: &[usize]| {
        let Some(bytes) = find(name, Dtype::F32, shape)? else { return Ok(None) };
        let values: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(Some(values)),
            Some(value) => Err(NotConditions::Tensor {
                name,
                found: value.to_string(),
                expected: "finite numbers".to_owned(),
            }),
        }
    };
    let needed = |name: &'static str, shape: &[usize]| {
        f32s(name, shape)?.ok_or_else(|| NotConditions::Tensor {
            name,
            found: "missing".to_owned(),
            expected: format!("F32 {shape:?}"),
        })
    };
    let (frames, edge, mask) = (sizes.n_frame, sizes.latent, sizes.mask);
    let tokens = [sizes.n_token, sizes.channels];
    let n_id = tensors.tensor("caption_ids").map_or(0, |ids| ids.shape().iter().product());
    if n_id > sizes.caption_tokens {
        return Err(NotConditions::Tensor {
            name: "caption_ids",
            found: format!("{n_id} ids"),
            expected: format!("at most {}", sizes.caption_tokens),
        });
    }
    let ids = find("caption_ids", Dtype::I64, &[n_id])?;
    let as_i64 = |bytes: Vec<u8>| {
        bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    };
    Ok(Conditions {
        sizes: *sizes,
        brain_tokens: needed("brain_tokens", &tokens)?,
        tokens: needed("tokens", &tokens)?,
        text_embed: needed("text_embed", &[sizes.text_dim])?,
        probabilities: f32s("probabilities", &[sizes.n_class])?,
        mask: find("mask", Dtype::U8, &[frames, mask, mask])?,
        latents: f32s("latents", &[frames, 4, edge, edge])?,
        caption_ids: ids.map(as_i64),
        caption,
    })
}

#[cfg(test)]
mod tests;
