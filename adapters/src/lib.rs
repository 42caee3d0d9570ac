//! The scanner side of Corticast: takes volumes from a scanner and sends them to the daemon.
//!
//! Each adapter ([`adapter::ScannerAdapter`]) knows one way of delivering volumes and nothing
//! about their later use. Patient identifiers do not leave this crate. Recorded files are read by
//! `corticast-images`, which the daemon also uses.
//!
//! [`publish`] sends the volumes of an adapter to the daemon until all are acknowledged.

pub mod adapter;
pub mod afni;
pub mod dicom;
pub mod doctor;
pub mod mrd;
pub mod murfi;
pub mod network;
mod page;
pub mod parrec;
pub mod publish;
pub mod pyneal;
pub mod run_names;
pub mod session_state;
pub mod store;
pub mod synthetic;
pub mod trigger;
