//! The object head: where in each frame the most probable class is.
//!
//! The network gets the class's name as the text encoder's states, one per token of the name.
//! They come with the model in a safetensors file: `states` f32 `[n_class, n_text, text_dim]`,
//! zeros after the end of a name, and `length` i64 `[n_class]`.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::{head::HeadNetwork, motion::Frames};
use crate::{
    error::ModelError,
    manifest::{ManifestError, NeuronsFacts},
    network::Network,
};

/// Longest text that the text encoder takes, in tokens.
const MAX_TEXT: usize = 77;
/// Most bytes of header in a file of two tensors.
const MAX_HEADER_BYTES: u64 = 64 * 1024;

/// The object head. See the module docs.
#[derive(Debug)]
pub struct ObjectHead {
    network: HeadNetwork,
    text_dim: usize,
    n_value: usize,
    /// Text states of each class. Shape `[length, text_dim]`.
    class_states: Vec<Vec<f32>>,
}

impl ObjectHead {
    /// The head of a network and the file with the text states of `n_class` classes.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read or has another layout.
    pub fn new(
        network: HeadNetwork,
        facts: &NeuronsFacts,
        states: &Path,
        n_class: usize,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            network,
            text_dim: facts.text_dim,
            n_value: facts.n_frame * facts.mask * facts.mask,
            class_states: read_states(states, n_class, facts.text_dim)?,
        })
    }

    /// Masks of a class in every frame: 1 where the object is. Shape `[n_frame, mask, mask]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or the output is not finite. The next clip may succeed.
    pub fn read(&mut self, frames: &Frames, class: usize) -> Result<Vec<u8>, ModelError> {
        let states = &self.class_states[class];
        let shape = [1, states.len() / self.text_dim, self.text_dim];
        let text = (shape.as_slice(), states.as_slice());
        // A logit above 0 is a probability above one half.
        let masks = |logits: &[f32]| logits.iter().map(|&logit| u8::from(logit > 0.0)).collect();
        self.network.read(frames, Some(text), self.n_value, masks)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.network()
    }
}

/// Text states of each class, from their file.
fn read_states(
    path: &Path,
    n_class: usize,
    text_dim: usize,
) -> Result<Vec<Vec<f32>>, ManifestError> {
    let refuse = |reason: String| ManifestError::Tensors { path: path.into(), reason };
    let io = |source| ManifestError::Io { path: path.into(), source };
    let found = std::fs::metadata(path).map_err(io)?.len();
    let at_most = (n_class * (MAX_TEXT * text_dim * 4 + 8)) as u64 + MAX_HEADER_BYTES;
    if found > at_most {
        return Err(ManifestError::TooLong { path: path.into(), found, at_most });
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| refuse(format!("not a safetensors file: {error}")))?;
    let tensor = |name: &str| {
        tensors.tensor(name).map_err(|_| {
            refuse(format!("holds {:?}, expected `states` and `length`", tensors.names()))
        })
    };
    let (states, length) = (tensor("states")?, tensor("length")?);
    let n_text = match *states.shape() {
        [k, n_text, dim]
            if k == n_class
                && dim == text_dim
                && (1..=MAX_TEXT).contains(&n_text)
                && states.dtype() == Dtype::F32 =>
        {
            n_text
        }
        _ => {
            return Err(refuse(format!(
                "`states` is {} {:?}, expected F32 [{n_class}, 1 to {MAX_TEXT}, {text_dim}]",
                states.dtype(),
                states.shape()
            )));
        }
    };
    if length.dtype() != Dtype::I64 || length.shape() != [n_class] {
        return Err(refuse(format!(
            "`length` is {} {:?}, expected I64 [{n_class}]",
            length.dtype(),
            length.shape()
        )));
    }
    let (lengths, _) = length.data().as_chunks::<8>();
    let (values, _) = states.data().as_chunks::<4>();
    let class = |(at, length): (usize, &[u8; 8])| {
        let length = i64::from_le_bytes(*length);
        let n = usize::try_from(length).ok().filter(|n| (1..=n_text).contains(n));
        let n = n.ok_or_else(|| {
            refuse(format!("`length` of class {at} is {length}, expected 1 to {n_text}"))
        })?;
        let first = at * n_text * text_dim;
        let states: Vec<f32> = values[first..first + n * text_dim]
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        match states.iter().find(|value| !value.is_finite()) {
            Some(value) => {
                Err(refuse(format!("`states` of class {at} holds {value}, expected finite values")))
            }
            None => Ok(states),
        }
    };
    lengths.iter().enumerate().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    fn file(states: &[f32], shape: [usize; 3], lengths: &[i64]) -> Vec<u8> {
        let states: Vec<u8> = states.iter().flat_map(|v| v.to_le_bytes()).collect();
        let length: Vec<u8> = lengths.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensors = [
            ("states", TensorView::new(Dtype::F32, shape.to_vec(), &states).unwrap()),
            ("length", TensorView::new(Dtype::I64, vec![lengths.len()], &length).unwrap()),
        ];
        safetensors::serialize(tensors, None).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<f32>>, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("class_states.safetensors");
        std::fs::write(&path, bytes).unwrap();
        read_states(&path, 2, 2)
    }

    #[test]
    fn a_name_has_as_many_states_as_it_is_long() {
        let states = [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 5.0, 6.0];
        let read = read(&file(&states, [2, 2, 2], &[1, 2])).unwrap();
        assert_eq!(read, [vec![1.0, 2.0], vec![3.0, 4.0, 5.0, 6.0]]);
    }

    #[test]
    fn invalid_lengths_and_values_are_refused() {
        let message = |states: &[f32], shape, lengths: &[i64]| {
            read(&file(states, shape, lengths)).unwrap_err().to_string()
        };
        let found = message(&[0.0; 8], [2, 2, 2], &[0, 2]);
        assert!(found.contains("`length` of class 0 is 0, expected 1 to 2"), "{found}");
        let found = message(&[0.0; 8], [2, 2, 2], &[1, 3]);
        assert!(found.contains("`length` of class 1 is 3"), "{found}");
        let found = message(&[0.0; 12], [3, 2, 2], &[1, 1]);
        assert!(found.contains("`states` is F32 [3, 2, 2], expected F32 [2, "), "{found}");
        let found = message(&[f32::NAN; 8], [2, 2, 2], &[1, 1]);
        assert!(found.contains("`states` of class 0 holds NaN"), "{found}");
    }

    proptest! {
        /// No damage makes reading panic.
        #[test]
        fn a_damaged_file_is_an_error(cut in 0_usize..200, at in 0_usize..200, byte: u8) {
            let mut bytes = file(&[1.0; 8], [2, 2, 2], &[1, 2]);
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(states) = read(&bytes) {
                prop_assert!(states.iter().flatten().all(|value| value.is_finite()));
            }
        }
    }
}
