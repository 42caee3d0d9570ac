//! From a window of normalised BOLD to what a model reads out of it.
//!
//! A model is a folder: `manifest.toml` says what the model was trained on and what it takes
//! and gives; ONNX files hold the networks. [`decoder::Decoder::open`] reads the manifest,
//! checks every file's SHA-256, loads ONNX Runtime's library, compares the networks with the
//! manifest and runs each once, so that a model that does not fit is refused before the scan.
//!
//! The models use networks through the trait [`network::Network`]. Only [`runtime`] names the
//! `ort` crate.

pub mod brain_model;
pub mod conditions;
mod contract;
pub mod decoder;
pub mod decoupler;
pub mod error;
pub mod evidence;
pub mod generator;
pub mod latent;
pub mod linear;
pub mod manifest;
pub mod network;
pub mod neurons;
pub mod prior;
pub mod readout;
mod regular;
pub mod runtime;
pub mod statistics;
pub mod vocabulary;

#[cfg(test)]
mod fixtures;
