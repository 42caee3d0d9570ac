//! A folder of conditions, one safetensors file for each result.

use std::path::Path;

use super::folder::{FolderError, NewFolder};
use crate::product::{Product, results::ConditionsReport};

/// A folder of conditions: `<run>/<index as 6 digits>.safetensors`.
#[derive(Debug)]
pub struct ConditionsFolder(NewFolder);

impl ConditionsFolder {
    /// Creates the folder.
    ///
    /// # Errors
    ///
    /// Fails when the folder exists and is not empty, or on an I/O error.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        Ok(Self(NewFolder::create("conditions", path)?))
    }

    /// Writes the tensors if the product is conditions. A file has its final name only once it
    /// is complete.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next call may succeed.
    pub fn deliver(&self, product: &Product) -> Result<(), FolderError> {
        let Product::Conditions(ConditionsReport { run, index, tensors, .. }) = product else {
            return Ok(());
        };
        self.0.write(run, &format!("{:06}.safetensors", index.0), tensors)
    }
}
