//! The linear family: one network from a window to class probabilities.
//!
//! Ridge or multinomial logistic regression with its softmax, exported by the training tool.
//! The manifest has one network of role `decoder`, which takes the window as `[1, S, V]` and
//! gives `[1, n_class]`, with the names of the classes.

use std::sync::Arc;

use corticast_bold::volume::Window;

use crate::{
    error::ModelError,
    manifest::{Dim, Manifest, Role, TensorFacts, listed},
    readout::Concepts,
    session::{Input, Session, SessionOptions},
};

/// How far probabilities may sum from 1; f32 softmax errs far less.
const SUM_TOLERANCE: f32 = 1e-3;

/// A linear decoder. See the module docs.
#[derive(Debug)]
pub struct LinearDecoder {
    session: Session,
    names: Arc<[String]>,
    /// Volumes and voxels of a window.
    window_shape: [usize; 2],
}

impl LinearDecoder {
    /// Opens the decoder that a manifest describes.
    ///
    /// # Errors
    ///
    /// Fails when the manifest does not describe a linear decoder, or as [`Session::open`].
    pub fn open(manifest: &Manifest, options: &SessionOptions) -> Result<Self, ModelError> {
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
            session: Session::open(network, options)?,
            names: network.classes.clone().into(),
            window_shape: [n_tr, n_voxel],
        })
    }

    /// Decodes one window.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when inference fails, or
    /// when what comes out is no probability distribution. The next window may succeed.
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
        self.session.run_into(&[Input::F32(&[1, n_tr, n_voxel], bold)], &mut probabilities)?;

        let sum: f32 = probabilities.iter().sum();
        let lowest = probabilities.iter().copied().fold(f32::INFINITY, f32::min);
        if (sum - 1.0).abs() > SUM_TOLERANCE || lowest < 0.0 {
            return Err(ModelError::NotProbabilities { sum, lowest });
        }
        Ok(Concepts { names: Arc::clone(&self.names), probabilities, is_exclusive: true })
    }

    /// The network.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{edited, model, window};

    fn open(name: &str) -> LinearDecoder {
        let manifest = Manifest::read(&model(name)).unwrap();
        LinearDecoder::open(&manifest, &SessionOptions::default()).unwrap()
    }

    #[test]
    fn probabilities_are_those_worked_out_by_hand() {
        let mut decoder = open("linear-3x4");
        // Each voxel doubles the odds of its class; the last makes class 0 eight times likelier.
        for (bold, expected) in [
            ([0.0, 0.0, 0.0, 0.0], [1.0 / 3.0; 3]),
            ([1.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25]),
            ([0.0, 0.0, 2.0, 0.0], [1.0 / 6.0, 1.0 / 6.0, 4.0 / 6.0]),
            ([0.0, 0.0, 0.0, 1.0], [0.8, 0.1, 0.1]),
        ] {
            let concepts = decoder.decode(&window(&bold)).unwrap();
            assert_eq!(*concepts.names, ["bottle", "cat", "chair"]);
            for (found, expected) in concepts.probabilities.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} for {bold:?}");
            }
        }
    }

    #[test]
    fn the_same_window_gives_the_same_bits() {
        let bits = |decoder: &mut LinearDecoder| -> Vec<u32> {
            let concepts = decoder.decode(&window(&[0.3, -1.7, 2.9, 0.01])).unwrap();
            concepts.probabilities.iter().map(|p| p.to_bits()).collect()
        };
        let (mut one, mut other) = (open("linear-3x4"), open("linear-3x4"));
        let first = bits(&mut one);
        assert_eq!(bits(&mut one), first);
        assert_eq!(bits(&mut other), first);
    }

    #[test]
    fn nan_is_an_error_that_costs_one_window() {
        let error = open("nan").decode(&window(&[1.0; 4])).unwrap_err();
        assert!(error.costs_one_window());
        let message = error.to_string();
        assert!(message.contains("holds NaN at position 1"), "{message}");

        let mut decoder = open("linear-3x4");
        let message = decoder.decode(&window(&[f32::NAN, 0.0, 0.0, 0.0])).unwrap_err().to_string();
        assert!(message.contains("1 of the window's values are not finite"), "{message}");
        assert!(decoder.decode(&window(&[1.0; 4])).is_ok());
    }

    #[test]
    fn numbers_that_are_no_probabilities_are_refused() {
        let error = open("no-softmax").decode(&window(&[1.0, 1.0, 1.0, 0.0])).unwrap_err();
        assert!(matches!(error, ModelError::NotProbabilities { sum, .. } if sum > 2.0), "{error}");
    }

    #[test]
    fn a_window_of_other_voxels_is_refused() {
        let error = open("linear-3x4").decode(&window(&[0.0; 5])).unwrap_err();
        assert!(matches!(error, ModelError::Window { found: [1, 5], expected: [1, 4] }));
    }

    #[test]
    fn the_window_in_another_layout_is_decoded_the_same() {
        let mut wide = window(&[0.0, 9.0, 0.0, 9.0, 0.0, 9.0, 1.0, 9.0]);
        wide.bold.slice_collapse(ndarray::s![.., ..;2]);
        let concepts = open("linear-3x4").decode(&wide).unwrap();
        assert!((concepts.probabilities[0] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_manifest_that_is_no_linear_decoder_is_refused() {
        for (from, to, expected) in [
            (
                "window_volumes = 1",
                "window_volumes = 2",
                "is `bold` f32 [1, 1, 4], a `linear` model has `bold` f32 [1, 2, 4]",
            ),
            (", \"chair\"]", "]", "f32 [1, 3], a `linear` model has `probabilities` f32 [1, 2]"),
            ("role = \"decoder\"", "role = \"brain\"", "is brain, a `linear` model has `decoder`"),
        ] {
            let folder = edited(from, to);
            let manifest = Manifest::read(folder.path()).unwrap();
            let error = LinearDecoder::open(&manifest, &SessionOptions::default()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_whole_brain_window_goes_through_the_noop_model() {
        let mut bold = vec![0.0; 64 * 64 * 32];
        bold[1] = 3.0_f32.ln();
        let concepts = open("noop-64x64x32").decode(&window(&bold)).unwrap();
        let (name, probability) = concepts.iter().last().unwrap();
        assert_eq!(name, "second");
        assert!((probability - 0.75).abs() < 1e-6);
    }
}
