//! A folder into which a scanner exports DICOM files: mosaics, enhanced images, or single slices.
//!
//! Each series is a run. A volume is delivered as soon as its files are complete: after a file was
//! closed, renamed into place, or found by polling (`watch`). A truncated file is tried again
//! until a deadline (`intake`). The headers tell which volume it is (`numbering`, `assemble`); a
//! file's name may be wrong.
//!
//! ```text
//! watch ──names──► intake ──elements, attributes, image, parts──► select ──► series ──► runs
//! ```
//!
//! Only magnitude images of one echo become volumes, unless others are asked for (`select`). A
//! series becomes a run once its repetition time can be believed (`timing`).
//!
//! The scanner does not report the end of a run. A run ends when the next series begins, when all
//! its volumes have arrived, or when the adapter is stopped. A pause does not end it, because an
//! export can stall.
//!
//! Files already in the folder come first (`backlog`): those of the series acquired last, in order
//! of acquisition, so an adapter that starts late or restarts misses nothing of it.
//!
//! **Patient data does not leave this module.** Run names come from the command line, never from
//! the header; a hash identifies a series, and is hashed again with the session's salt before it
//! is sent. Texts of the header and the folder's name are neither passed on nor logged, and a
//! file's name is logged only if it consists of the scanner's three numbers. The time of day is
//! sent only on request, because together with the day it identifies the scan.

mod assemble;
mod attributes;
mod backlog;
mod beat;
mod clock;
mod codec;
mod csa;
pub mod doctor;
mod elements;
mod enhanced;
mod error;
mod file_name;
#[cfg(test)]
mod fixture;
mod geometry;
mod grid;
mod hash;
mod image;
mod intake;
mod kind;
mod mosaic;
mod numbering;
mod options;
mod parts;
mod pixels;
mod polling;
mod protocol;
mod runs;
mod scan;
mod select;
mod series;
mod syntax;
mod tags;
mod timing;
mod tree;
mod watch;

use bytes::Bytes;

use self::{
    image::{Content, Image},
    parts::{What, parts},
};
pub use self::{intake::Counts, options::DicomOptions, runs::DicomAdapter};

/// Reads bytes as the adapter reads a file. Returns matrix and voxels, x fastest, of its first
/// volume; a single slice is a volume of one slice here.
///
/// # Errors
///
/// Fails when the adapter would refuse such a file. The text says why.
pub fn read_file(bytes: &[u8]) -> Result<([usize; 3], Bytes), String> {
    let (image, pixels) = Image::parse(bytes).map_err(|error| error.to_string())?;
    let parts = parts(&image, &pixels).map_err(|error| error.to_string())?;
    let first = parts.into_iter().next().ok_or("no volume")?;
    Ok(match first.what {
        What::Volume(stack) => (stack.space.matrix(), stack.voxels.into()),
        What::Slice(slice) => ([slice.size[0], slice.size[1], 1], slice.voxels.into()),
    })
}

/// Reads the beginning of a file, without its pixels, as the adapter does to sort a folder.
/// Returns the number of its pictures.
///
/// # Errors
///
/// As [`read_file`].
pub fn read_header(bytes: &[u8]) -> Result<usize, String> {
    let image = Image::header(bytes).map_err(|error| error.to_string())?;
    Ok(match image.content {
        Content::Tiles { .. } => 1,
        Content::Frames(frames) => frames.len(),
    })
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
