//! Whether a network is the one that its manifest describes.
//!
//! Names, types and shapes are compared, in order. A network of another model would run and
//! give results that look like results, so any difference stops it from being opened.

use crate::{
    error::ModelError,
    manifest::{ElementType, NetworkFacts, TensorFacts, listed},
};

/// An input or output as the network's file declares it.
#[derive(Clone, Debug)]
pub(crate) struct Declared<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its type; `None` for a type that no manifest can ask for.
    pub(crate) dtype: Option<ElementType>,
    /// Its shape, slowest axis first, -1 for an open dimension; `None` if it is not a tensor.
    pub(crate) shape: Option<Vec<i64>>,
    /// Type and shape for messages.
    pub(crate) shown: String,
}

impl Declared<'_> {
    fn agrees_with(&self, expected: &TensorFacts) -> bool {
        self.name == expected.name
            && self.dtype == Some(expected.dtype)
            && self.shape.as_ref().is_some_and(|shape| {
                shape.len() == expected.shape.len()
                    // Exporters leave the batch open, which fits any length. What the manifest
                    // leaves open must be open in the file.
                    && shape.iter().zip(&expected.shape).all(|(&a, &b)| a == -1 || a == i64::from(b))
            })
    }
}

/// Refuses a network whose inputs or outputs differ from the manifest.
pub(crate) fn check(
    network: &NetworkFacts,
    inputs: &[Declared<'_>],
    outputs: &[Declared<'_>],
) -> Result<(), ModelError> {
    for (what, found, expected) in
        [("input", inputs, &network.inputs), ("output", outputs, &network.outputs)]
    {
        let mut pairs = found.iter().zip(expected);
        if found.len() == expected.len() && pairs.all(|(found, facts)| found.agrees_with(facts)) {
            continue;
        }
        let found: Vec<String> =
            found.iter().map(|tensor| format!("`{}` {}", tensor.name, tensor.shown)).collect();
        return Err(ModelError::Contract {
            path: network.path.clone(),
            what,
            found: if found.is_empty() { "none".into() } else { found.join(" and ") },
            expected: listed(expected),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{
        Dim::{self, Fixed, Open},
        Role,
    };

    fn facts(shape: &[Dim]) -> NetworkFacts {
        NetworkFacts {
            role: Role::Prior,
            path: "prior.onnx".into(),
            sha256: String::new(),
            external: Vec::new(),
            inputs: vec![TensorFacts::f32("x", shape)],
            outputs: Vec::new(),
            classes: Vec::new(),
        }
    }

    fn declared(dtype: Option<ElementType>, shape: &[i64]) -> [Declared<'static>; 1] {
        [Declared { name: "x", dtype, shape: Some(shape.to_vec()), shown: "as declared".into() }]
    }

    #[test]
    fn an_open_dimension_of_the_file_fits_and_one_of_the_manifest_must_be_open() {
        let f32 = |shape: &[i64]| declared(Some(ElementType::F32), shape);
        assert!(check(&facts(&[Fixed(1), Fixed(4)]), &f32(&[-1, 4]), &[]).is_ok());
        assert!(check(&facts(&[Open, Fixed(4)]), &f32(&[-1, 4]), &[]).is_ok());
        assert!(check(&facts(&[Open, Fixed(4)]), &f32(&[1, 4]), &[]).is_err());
        assert!(check(&facts(&[Fixed(4)]), &f32(&[1, 4]), &[]).is_err());
    }

    #[test]
    fn another_type_or_number_is_refused_with_both() {
        let one = facts(&[Fixed(1)]);
        let message = check(&one, &declared(None, &[1]), &[]).unwrap_err().to_string();
        assert!(message.contains("input is `x` as declared, its manifest says `x` f32 [1]"));
        let message = check(&one, &[], &[]).unwrap_err().to_string();
        assert!(message.contains("input is none"), "{message}");
    }
}
