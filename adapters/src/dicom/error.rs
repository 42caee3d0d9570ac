//! Why a file is not a volume, and whether more bytes could change that.
//!
//! Errors name attributes and numbers, never a text of the file: any text could be a patient's.

/// Why bytes are not a volume.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DicomError {
    /// The file ends too early, or is filled with zeros from there on.
    #[error("ends after {found} bytes, expected at least {expected}")]
    Truncated {
        /// Bytes that are there.
        found: usize,
        /// Bytes that the elements read so far ask for.
        expected: usize,
    },
    /// The file ends at the end of an element, and none was the image.
    #[error("ends after {0} bytes without pixel data, expected an image")]
    NoPixels(usize),
    /// The file is something else.
    #[error("no `DICM` at byte 128, expected a DICOM file")]
    NotDicom,
    /// The bytes are not an element.
    #[error("no DICOM element at byte {at}: {reason}")]
    Element {
        /// Where.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The voxels are compressed, or written another way.
    #[error("transfer syntax is {0}, expected uncompressed little-endian (1.2.840.10008.1.2[.1])")]
    TransferSyntax(String),
    /// A DICOM file, but not the kind that is read here.
    #[error("found {found}, expected a Siemens mosaic")]
    NotMosaic {
        /// What it is instead.
        found: String,
    },
    /// An attribute is missing or holds an invalid value.
    #[error("{name} {reason}")]
    Attribute {
        /// Its name in the standard.
        name: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
}

impl DicomError {
    /// Whether more bytes could turn the file into a volume.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::NoPixels(_))
    }
}
