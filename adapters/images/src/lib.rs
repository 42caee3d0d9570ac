//! Image files as sources of volumes: NIfTI and BIDS, read and written.
//!
//! The scanner adapter sends these volumes to the daemon; the daemon replays files and reads its
//! masks with the same code. So both see the same bytes and the same run names.
//!
//! [`source::ScannerAdapter`] is the trait of every source of volumes, file or scanner.
//! [`dump`] writes the volumes of a source as NIfTI.

pub mod acquired;
pub mod beside;
pub mod bids;
pub mod design;
pub mod dump;
pub mod error;
pub mod events;
pub mod labels;
mod natural;
pub mod nifti;
pub mod pattern;
pub mod reorient;
pub(crate) mod slices;
pub mod source;
pub mod text;
pub mod timing;
