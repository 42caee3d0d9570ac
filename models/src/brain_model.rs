//! The brain model: from a window of BOLD to image tokens.

use corticast_bold::volume::Window;

use crate::{
    error::ModelError,
    manifest::{Manifest, NetworkFacts, NeuronsFacts},
    network::{Input, Network, Runtime},
};

/// The brain model of one subject.
#[derive(Debug)]
pub struct BrainModel {
    network: Box<dyn Network>,
    /// Volumes and voxels of a window.
    window_shape: [usize; 2],
    n_value: usize,
}

impl BrainModel {
    /// Opens a brain model.
    ///
    /// # Errors
    ///
    /// See [`Runtime::open`].
    pub fn open(
        network: &NetworkFacts,
        manifest: &Manifest,
        facts: &NeuronsFacts,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            network: runtime.open(network)?,
            window_shape: [manifest.signal.window_volumes.get(), manifest.mask.n_voxel],
            n_value: facts.n_token * facts.channels,
        })
    }

    /// The brain's tokens, shape `[n_token, channels]`.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when inference fails, or
    /// when the output is not finite. The next window may succeed.
    pub fn embed(&mut self, window: &Window) -> Result<Vec<f32>, ModelError> {
        let found = [window.bold.nrows(), window.bold.ncols()];
        if found != self.window_shape {
            return Err(ModelError::Window { found, expected: self.window_shape });
        }
        // No copy: windows are built in standard layout.
        let bold = window.bold.as_standard_layout();
        let bold = bold.as_slice().expect("a standard layout is one slice");
        let [n_tr, n_voxel] = self.window_shape;
        let mut tokens = vec![0.0; self.n_value];
        self.network.run_into(&[Input::F32(&[1, n_tr, n_voxel], bold)], &mut tokens)?;
        Ok(tokens)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }
}
