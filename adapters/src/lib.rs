//! The scanner side of Corticast: volumes out of a scanner, onto the wire.
//!
//! One adapter knows one way in which volumes are delivered ([`adapter::ScannerAdapter`]) and
//! nothing about what happens to them afterwards. Patient identifiers end here. Recorded files
//! are read by `corticast-images`, which the daemon shares.
//!
//! [`publish`] sends the volumes of an adapter to the daemon until all are acknowledged.

pub mod adapter;
pub mod dicom;
pub mod publish;
pub mod synthetic;
