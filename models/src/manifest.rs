//! `manifest.toml`: what a model was trained on, and what it takes and gives.
//!
//! A model that meets another subject, mask, delay or normalisation than it was trained on gives
//! results that look like results. So the manifest records all of it, the daemon compares, and
//! nothing starts if they differ. Everything is checked once, when the manifest is read, and
//! becomes types that cannot hold a wrong value. An error names the file, the line and column or
//! the key, what was found and what was expected.
//!
//! ```text
//! written, normalise, evidence, neurons, network   a section as it is written, and its checks
//! facts, role, tensor                    what comes out
//! read, file, error                      shared with the manifest of a video set ([`video`])
//! ```

pub(crate) mod error;
mod evidence;
mod facts;
mod file;
mod network;
mod neurons;
mod normalise;
mod read;
mod role;
mod tensor;
pub mod video;
mod written;

pub use self::{
    error::ManifestError,
    evidence::EvidenceFacts,
    facts::{FILE_NAME, Family, Manifest, MaskFacts, NormaliseFacts, SignalFacts},
    network::NetworkFacts,
    neurons::{CaptionFacts, NeuronsFacts, PriorSchedule},
    role::Role,
    tensor::{Dim, ElementType, TensorFacts, listed},
    written::FORMAT,
};

#[cfg(test)]
mod tests;
