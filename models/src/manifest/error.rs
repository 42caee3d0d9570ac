//! Why a manifest is refused. Each message names the file, the place in it, what was found and
//! what was expected.

use std::path::PathBuf;

/// Why a manifest, or a file it names, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file is longer than any valid one.
    #[error("{path}: {found} bytes, expected at most {at_most}")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The longest file that is read, in bytes.
        at_most: u64,
    },
    /// The manifest has another format version.
    #[error(
        "{path}: manifest format {found}, this version reads format {expected}; {}",
        if *found < i64::from(*expected) {
            "export the model again with the `corticast-train` of this version"
        } else {
            "the model was made for a newer version"
        }
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: i64,
        /// The format version that is read.
        expected: u32,
    },
    /// The manifest is not valid TOML, or has an unknown key, a missing key or an invalid value.
    #[error("{path}:{line}:{column}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was found and what was expected.
        reason: String,
    },
    /// A value is invalid, or does not fit another value.
    #[error("{path}: `{key}`: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A file was changed, damaged or replaced after the manifest was written.
    #[error("{path} has SHA-256 {found}, its manifest says {expected}; export the model again")]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash in the manifest.
        expected: String,
    },
    /// A file of tensors beside the networks cannot be used.
    #[error("{path}: {reason}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// The vocabulary cannot be used.
    #[error("{path}: the vocabulary cannot be used: {reason}")]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
}
