//! The scanner side of Corticast: volumes out of a scanner, onto the wire.
//!
//! One adapter knows one way in which volumes are delivered ([`adapter::ScannerAdapter`]) and
//! nothing about what happens to them afterwards. Patient identifiers end here.

pub mod adapter;
pub mod events;
pub mod labels;
pub mod nifti;
