//! Results as JSON lines, one for each result.
//!
//! Programs that follow the file see whole lines: the daemon flushes after each.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::product::Product;

/// Why results cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write results to {path}: {source}")]
pub struct JsonLinesError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A file of results.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl JsonLines {
    /// Creates the file, and its folder.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn create(path: &Path) -> Result<Self, JsonLinesError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let created = folder.map_or(Ok(()), std::fs::create_dir_all);
        let file = created.and_then(|()| File::create(path));
        let file = file.map_err(|source| JsonLinesError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Writes a product, if it is a result.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next line may succeed.
    pub fn deliver(&mut self, product: &Product) -> Result<(), JsonLinesError> {
        match product {
            Product::Result(_) => self.line(product.to_json().as_bytes()),
            _ => Ok(()),
        }
    }

    /// Writes one line.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error; the next line may succeed.
    pub fn line(&mut self, json: &[u8]) -> Result<(), JsonLinesError> {
        let written = self.file.write_all(json).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|source| JsonLinesError { path: self.path.clone(), source })
    }

    /// Hands buffered lines to the operating system.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error.
    pub fn flush(&mut self) -> Result<(), JsonLinesError> {
        self.file.flush().map_err(|source| JsonLinesError { path: self.path.clone(), source })
    }
}
