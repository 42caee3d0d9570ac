//! The linear family: one network from a window to class probabilities.
//!
//! Ridge or multinomial logistic regression with its softmax, exported by the training tool.
//! The manifest has one network of role `decoder`, which takes the window as `[1, n_volume,
//! n_voxel]` and gives `[1, n_class]`, and the names of the classes.

use std::sync::Arc;

use corticast_bold::volume::Window;

use crate::{
    error::ModelError,
    manifest::{Dim, Manifest, Role, TensorFacts, listed},
    network::{Input, Network, Runtime},
    readout::Concepts,
};

/// Largest distance of the sum of probabilities from 1; an f32 softmax is much closer.
const SUM_TOLERANCE: f32 = 1e-3;

/// A linear decoder. See the module docs.
#[derive(Debug)]
pub struct LinearDecoder {
    network: Box<dyn Network>,
    names: Arc<[String]>,
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
        Ok(Self {
            network: runtime.open(network)?,
            names: network.classes.clone().into(),
            window_shape: [n_tr, n_voxel],
        })
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
        let mut probabilities = vec![0.0; self.names.len()];
        let [n_tr, n_voxel] = self.window_shape;
        self.network.run_into(&[Input::F32(&[1, n_tr, n_voxel], bold)], &mut probabilities)?;

        let sum: f32 = probabilities.iter().sum();
        let lowest = probabilities.iter().copied().fold(f32::INFINITY, f32::min);
        if (sum - 1.0).abs() > SUM_TOLERANCE || lowest < 0.0 {
            return Err(ModelError::NotProbabilities { sum, lowest });
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
