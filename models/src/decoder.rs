//! A model of any family, opened from its folder.

use std::path::Path;

use corticast_bold::{
    state::{Loader, Saver},
    volume::Window,
};

use crate::{
    error::ModelError,
    linear::LinearDecoder,
    manifest::{Family, Manifest, Role},
    network::{Network, Provider, Runtime},
    neurons::{Neurons, NeuronsOptions},
    readout::{Readouts, Watch},
};

/// Parts of a model that are timed: `decoder` in a linear model, the others in a `neurons` model.
pub const PARTS: [&str; 8] =
    ["decoder", "brain", "prior", "motion", "concepts", "objects", "reconstruction", "caption"];

/// A model, ready to decode. It can be opened on one thread and moved to the signal thread.
#[derive(Debug)]
pub struct Decoder {
    manifest: Manifest,
    family: FamilyDecoder,
}

/// A decoder of each family.
#[derive(Debug)]
pub enum FamilyDecoder {
    /// See [`crate::linear`].
    Linear(LinearDecoder),
    /// See [`crate::neurons`].
    Neurons(Box<Neurons>),
}

impl Decoder {
    /// Opens the model in `dir`: reads its manifest, checks its files, loads its networks and
    /// runs each once, so that the first window costs no more than any other. `neurons` says how
    /// a model of that family is run.
    ///
    /// # Errors
    ///
    /// Fails when the manifest, a file or the runtime's library is missing, damaged, or does not
    /// fit. See [`ModelError`].
    pub fn open(
        dir: &Path,
        neurons: &NeuronsOptions,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let manifest = Manifest::read(dir)?;
        let family = match manifest.family {
            Family::Linear => FamilyDecoder::Linear(LinearDecoder::open(&manifest, runtime)?),
            Family::Neurons => {
                FamilyDecoder::Neurons(Box::new(Neurons::open(&manifest, neurons, runtime)?))
            }
        };
        let decoder = Self { manifest, family };
        if let Some(reason) = decoder.fallback_reason() {
            // A user who installed CUDA's libraries expects them to be used.
            if decoder.networks().iter().any(|(_, network)| network.expected_cuda()) {
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

    /// The decoder of the model's family.
    #[must_use]
    pub fn family(&self) -> &FamilyDecoder {
        &self.family
    }

    /// Every loaded network, with its role.
    #[must_use]
    pub fn networks(&self) -> Vec<(Role, &dyn Network)> {
        match &self.family {
            FamilyDecoder::Linear(linear) => vec![(Role::Decoder, linear.network())],
            FamilyDecoder::Neurons(neurons) => neurons.networks(),
        }
    }

    /// Where the networks run: on the GPU only if all do.
    #[must_use]
    pub fn provider(&self) -> Provider {
        let on_cpu = |(_, network): &(Role, &dyn Network)| network.provider() == Provider::Cpu;
        if self.networks().iter().any(on_cpu) { Provider::Cpu } else { Provider::Cuda }
    }

    /// Why a network runs on the CPU although `auto` prefers CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.networks().into_iter().find_map(|(_, network)| network.fallback_reason())
    }

    /// Whether the result of a window depends on the windows before it. Such a model has to see the
    /// windows of a run in order, each once.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        matches!(&self.family, FamilyDecoder::Linear(linear) if linear.has_memory())
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        if let FamilyDecoder::Linear(linear) = &mut self.family {
            linear.start_run();
        }
    }

    /// Adds what it remembers of the run to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        if let FamilyDecoder::Linear(linear) = &self.family {
            linear.save(to);
        }
    }

    /// Takes what it remembers from a checkpoint. `None` when the bytes do not fit; then nothing has
    /// changed.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        match &mut self.family {
            FamilyDecoder::Linear(linear) => linear.load(from),
            FamilyDecoder::Neurons(_) => Some(()),
        }
    }

    /// Decodes one window into everything that the model reads out of it. `watch` is told when
    /// each part is done.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when inference fails, or
    /// when its result is invalid. The next window may succeed.
    pub fn decode(
        &mut self,
        window: &Window,
        watch: &mut dyn Watch,
    ) -> Result<Readouts, ModelError> {
        match &mut self.family {
            FamilyDecoder::Linear(linear) => {
                let concepts = linear.decode(window)?;
                watch.done("decoder");
                Ok(Readouts { concepts: Some(concepts), ..Readouts::default() })
            }
            FamilyDecoder::Neurons(neurons) => neurons.decode(window, watch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{model, window},
        runtime::OnnxRuntime,
    };

    fn open(dir: &Path) -> Result<Decoder, ModelError> {
        Decoder::open(dir, &NeuronsOptions::default(), &OnnxRuntime::default())
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
