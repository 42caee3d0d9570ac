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
    /// Fails when it is there with something in it, or when the disk does.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        Ok(Self(NewFolder::create("conditions", path)?))
    }

    /// Writes a product, if it is conditions. Nothing half written stands under a final name.
    ///
    /// # Errors
    ///
    /// Fails when the disk does; the next may succeed.
    pub fn deliver(&self, product: &Product) -> Result<(), FolderError> {
        let Product::Conditions(ConditionsReport { run, index, tensors, .. }) = product else {
            return Ok(());
        };
        self.0.write(run, &format!("{:06}.safetensors", index.0), tensors)
    }
}
