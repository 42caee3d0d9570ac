//! A model of any family, opened from its folder.

use std::path::Path;

use corticast_bold::volume::Window;

use crate::{
    error::ModelError,
    linear::{Concepts, LinearDecoder},
    manifest::{Family, Manifest},
    session::{Provider, SessionOptions},
};

/// One thing that was read out of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Readout {
    /// Probability of each class.
    Concepts(Concepts),
}

/// A model, ready to decode. It may move to the signal thread, and stays there.
#[derive(Debug)]
pub struct Decoder {
    manifest: Manifest,
    networks: LinearDecoder,
}

impl Decoder {
    /// Opens the model in `dir`: reads its manifest, checks its files, loads its networks and
    /// runs each once. What comes back is ready for its first window.
    ///
    /// # Errors
    ///
    /// Fails when the manifest, a file or ONNX Runtime is missing, damaged, or does not fit;
    /// says what was found and expected. See [`ModelError`].
    pub fn open(dir: &Path, options: &SessionOptions) -> Result<Self, ModelError> {
        let manifest = Manifest::read(dir)?;
        let networks = match manifest.family {
            Family::Linear => LinearDecoder::open(&manifest, options)?,
            Family::Neurons => {
                return Err(ModelError::Family {
                    path: manifest.path(),
                    family: "neurons",
                    key: "family",
                    found: "neurons".into(),
                    expected: "a daemon that decodes it".into(),
                });
            }
        };
        Ok(Self { manifest, networks })
    }

    /// What the model was trained on, and what it takes and gives.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the networks run.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.networks.session().provider()
    }

    /// Why the networks run on the CPU although `auto` would rather have had CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.networks.session().fallback_reason()
    }

    /// Decodes one window into everything the model reads out of it.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when inference fails, or
    /// when its result cannot be. The next window may succeed.
    pub fn decode(&mut self, window: &Window) -> Result<Vec<Readout>, ModelError> {
        Ok(vec![Readout::Concepts(self.networks.decode(window)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{model, window};

    #[test]
    fn a_model_opened_here_decodes_on_the_signal_thread() {
        let mut decoder = Decoder::open(&model("linear-3x4"), &SessionOptions::default()).unwrap();
        assert_eq!(decoder.manifest().subject, "01");
        let readouts = std::thread::spawn(move || decoder.decode(&window(&[1.0, 0.0, 0.0, 0.0])))
            .join()
            .unwrap()
            .unwrap();
        let Readout::Concepts(concepts) = &readouts[0];
        assert!((concepts.probabilities[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_folder_without_a_model_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = Decoder::open(empty.path(), &SessionOptions::default()).unwrap_err();
        assert!(!error.costs_one_window());
        assert!(error.to_string().contains("manifest.toml"), "{error}");
    }
}
