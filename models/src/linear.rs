//! The linear family: one network from a window to class probabilities.
//!
//! Ridge or multinomial logistic regression with its softmax, exported by the training tool.
//! The manifest has one network of role `decoder`, which takes the window as `[1, n_volume,
//! n_voxel]` and gives `[1, n_class]`, and the names of the classes. With a section `[evidence]`, the
//! probabilities of a window are those of the run so far ([`crate::evidence`]).

use std::sync::Arc;

use corticast_bold::{
    state::{Loader, Saver},
    volume::Window,
};

use crate::{
    error::ModelError,
    evidence::Evidence,
    manifest::{Dim, EvidenceFacts, Manifest, Role, TensorFacts, listed},
    network::{Input, Network, Runtime},
    readout::Concepts,
};

/// Largest distance of the sum of probabilities from 1; an f32 softmax is much closer.
const SUM_TOLERANCE: f32 = 1e-3;

/// A linear decoder. See the module docs.
#[derive(Debug)]
pub struct LinearDecoder {
    network: Box<dyn Network>,
    /// Classes that are answers.
    names: Arc<[String]>,
    /// Classes of the network.
    n_class: usize,
    /// `None`: each window is decoded on its own.
    evidence: Option<Evidence>,
    /// Volumes and voxels of a window.
    window_shape: [usize; 2],
}

impl LinearDecoder {
    /// Opens the decoder that a manifest describes.
    ///
    /// # Errors
    ///
    /// Fails when the manifest does not describe a linear decoder, or
    /// the network cannot be opened.
    pub fn open(manifest: &Manifest, runtime: &dyn Runtime) -> Result<Self, ModelError> {
        let refuse = |key, found: String, expected: String| ModelError::Family {
            path: manifest.path(),
            family: "linear",
            key,
            found,
            expected,
        };
        let [network] = manifest.networks.as_slice() else {
            let found = format!("{} networks", manifest.networks.len());
            return Err(refuse("network", found, "one".into()));
        };
        if network.role != Role::Decoder {
            return Err(refuse("network.role", network.role.to_string(), "`decoder`".into()));
        }
        let (n_tr, n_voxel) = (manifest.signal.window_volumes.get(), manifest.mask.n_voxel);
        for (key, found, shape) in [
            ("network.inputs", &network.inputs, [1, n_tr, n_voxel].as_slice()),
            ("network.outputs", &network.outputs, &[1, network.classes.len()]),
        ] {
            let shape: Vec<Dim> = shape.iter().copied().map(Dim::Fixed).collect();
            let name = found.first().map_or("", |tensor| &tensor.name);
            let expected = [TensorFacts::f32(name, &shape)];
            if *found != expected {
                return Err(refuse(key, listed(found), listed(&expected)));
            }
        }
        let mut names = network.classes.clone();
        let n_class = names.len();
        let evidence = manifest.evidence.map(|facts| {
            names.remove(facts.rest);
            Evidence::new(&facts, n_class, manifest.signal.repetition_time.as_secs())
        });
        Ok(Self {
            network: runtime.open(network)?,
            names: names.into(),
            n_class,
            evidence,
            window_shape: [n_tr, n_voxel],
        })
    }

    /// How the evidence of several windows is added up, if it is.
    #[must_use]
    pub fn evidence(&self) -> Option<&EvidenceFacts> {
        self.evidence.as_ref().map(Evidence::facts)
    }

    /// Whether the result of a window depends on the windows before it.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        self.evidence.is_some()
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        if let Some(evidence) = &mut self.evidence {
            evidence.start_run();
        }
    }

    /// Adds what it remembers of the run to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        if let Some(evidence) = &self.evidence {
            evidence.save(to);
        }
    }

    /// Takes what it remembers from a checkpoint. `None` when the bytes do not fit; then nothing has
    /// changed.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.evidence.as_mut().map_or(Some(()), |evidence| evidence.load(from))
    }

    /// Decodes one window.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when inference fails, or
    /// when the output is not a probability distribution. The next window may succeed.
    pub fn decode(&mut self, window: &Window) -> Result<Concepts, ModelError> {
        let found = [window.bold.nrows(), window.bold.ncols()];
        if found != self.window_shape {
            return Err(ModelError::Window { found, expected: self.window_shape });
        }
        // No copy: windows are built in standard layout.
        let bold = window.bold.as_standard_layout();
        let bold = bold.as_slice().expect("a standard layout is one slice");
        let mut probabilities = vec![0.0; self.n_class];
        let [n_tr, n_voxel] = self.window_shape;
        self.network.run_into(&[Input::F32(&[1, n_tr, n_voxel], bold)], &mut probabilities)?;

        let sum: f32 = probabilities.iter().sum();
        let lowest = probabilities.iter().copied().fold(f32::INFINITY, f32::min);
        if (sum - 1.0).abs() > SUM_TOLERANCE || lowest < 0.0 {
            return Err(ModelError::NotProbabilities { sum, lowest });
        }
        if let Some(evidence) = &mut self.evidence {
            probabilities = evidence.add(window.stimulus_time_s, &probabilities);
        }
        Ok(Concepts { names: Arc::clone(&self.names), probabilities, is_exclusive: true })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }
}

#[cfg(test)]
mod tests;
