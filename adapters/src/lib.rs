//! The scanner side of Corticast: volumes out of a scanner, onto the wire.
//!
//! One adapter knows one way in which volumes are delivered ([`adapter::ScannerAdapter`]) and
//! nothing about what happens to them afterwards. Patient identifiers end here.
//!
//! [`publish`] sends what an adapter gives to the daemon until all of it is acknowledged.

pub mod adapter;
pub mod bids;
pub mod dicom;
pub mod dump;
pub mod events;
pub mod explain;
pub mod labels;
pub mod nifti;
pub mod pace;
pub mod publish;
pub mod reorient;
pub mod spill;
pub mod synthetic;
