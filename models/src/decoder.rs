//! A model of any family, opened from its folder.

use std::path::Path;

use corticast_bold::volume::Window;

use crate::{
    error::ModelError,
    linear::LinearDecoder,
    manifest::{Family, Manifest, Role},
    neurons::{Neurons, NeuronsOptions},
    readout::{Readouts, Watch},
    session::{Provider, Session, SessionOptions},
};

/// Parts of a model that are timed: of a linear one `decoder`, of a `neurons` one the others.
pub const PARTS: [&str; 8] =
    ["decoder", "brain", "prior", "motion", "concepts", "objects", "reconstruction", "caption"];

/// A model, ready to decode. It may move to the signal thread, and stays there.
#[derive(Debug)]
pub struct Decoder {
    manifest: Manifest,
    networks: Networks,
}

/// The networks of each family.
#[derive(Debug)]
pub enum Networks {
    /// See [`crate::linear`].
    Linear(LinearDecoder),
    /// See [`crate::neurons`].
    Neurons(Box<Neurons>),
}

impl Decoder {
    /// Opens the model in `dir`: reads its manifest, checks its files, loads its networks and
    /// runs each once. What comes back is ready for its first window. `neurons` says how a model
    /// of that family is run.
    ///
    /// # Errors
    ///
    /// Fails when the manifest, a file or ONNX Runtime is missing, damaged, or does not fit;
    /// says what was found and expected. See [`ModelError`].
    pub fn open(
        dir: &Path,
        neurons: &NeuronsOptions,
        options: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let manifest = Manifest::read(dir)?;
        let networks = match manifest.family {
            Family::Linear => Networks::Linear(LinearDecoder::open(&manifest, options)?),
            Family::Neurons => {
                Networks::Neurons(Box::new(Neurons::open(&manifest, neurons, options)?))
            }
        };
        let decoder = Self { manifest, networks };
        if let Some(reason) = decoder.fallback_reason() {
            let surprises = |(_, session): &(Role, &Session)| session.expected_cuda();
            // Whoever installed CUDA's libraries expects them to be used.
            if decoder.sessions().iter().any(surprises) {
                tracing::warn!(reason, "CUDA cannot be used, running on the CPU");
            } else {
                tracing::info!(reason, "running on the CPU");
            }
        }
        Ok(decoder)
    }

    /// What the model was trained on, and what it takes and gives.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Every network that is loaded, with its role.
    #[must_use]
    pub fn sessions(&self) -> Vec<(Role, &Session)> {
        match &self.networks {
            Networks::Linear(linear) => vec![(Role::Decoder, linear.session())],
            Networks::Neurons(neurons) => neurons.sessions(),
        }
    }

    /// Where the networks run: on the GPU only if all do.
    #[must_use]
    pub fn provider(&self) -> Provider {
        let on_cpu = |(_, session): &(Role, &Session)| session.provider() == Provider::Cpu;
        if self.sessions().iter().any(on_cpu) { Provider::Cpu } else { Provider::Cuda }
    }

    /// Why a network runs on the CPU although `auto` would rather have had CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.sessions().into_iter().find_map(|(_, session)| session.fallback_reason())
    }

    /// Decodes one window into everything the model reads out of it. `watch` is told of each
    /// part that is done.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when inference fails, or
    /// when its result cannot be. The next window may succeed.
    pub fn decode(
        &mut self,
        window: &Window,
        watch: &mut dyn Watch,
    ) -> Result<Readouts, ModelError> {
        match &mut self.networks {
            Networks::Linear(linear) => {
                let concepts = linear.decode(window)?;
                watch.done("decoder");
                Ok(Readouts { concepts: Some(concepts), ..Readouts::default() })
            }
            Networks::Neurons(neurons) => neurons.decode(window, watch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{model, window};

    fn open(dir: &Path) -> Result<Decoder, ModelError> {
        Decoder::open(dir, &NeuronsOptions::default(), &SessionOptions::default())
    }

    #[test]
    fn a_model_opened_here_decodes_on_the_signal_thread() {
        let mut decoder = open(&model("linear-3x4")).unwrap();
        assert_eq!(decoder.manifest().subject, "01");
        let readouts =
            std::thread::spawn(move || decoder.decode(&window(&[1.0, 0.0, 0.0, 0.0]), &mut ()))
                .join()
                .unwrap()
                .unwrap();
        let concepts = readouts.concepts.unwrap();
        assert!((concepts.probabilities[0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_folder_without_a_model_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = open(empty.path()).unwrap_err();
        assert!(!error.costs_one_window());
        assert!(error.to_string().contains("manifest.toml"), "{error}");
    }
}
