//! Why a file is not a volume, and whether more bytes could change that.
//!
//! Errors name attributes and numbers, never a text from the file, because any text could identify
//! a patient.

/// Why bytes are not a volume.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DicomError {
    /// The file ends too early, or contains only zeros from some byte on.
    #[error("ends after {found} bytes, expected at least {expected}")]
    Truncated {
        /// Bytes before the end or the zeros.
        found: usize,
        /// Bytes that the elements read so far need.
        expected: usize,
    },
    /// The file ends after a complete element but contains no pixel data.
    #[error("ends after {0} bytes without pixel data, expected an image")]
    NoPixels(usize),
    /// The file is not a DICOM file.
    #[error("no `DICM` at byte 128, expected a DICOM file")]
    NotDicom,
    /// The bytes are not an element.
    #[error("no DICOM element at byte {at}: {reason}")]
    Element {
        /// Offset in the file, in bytes.
        at: usize,
        /// Why the bytes are not an element.
        reason: &'static str,
    },
    /// The transfer syntax is not supported, for example because the voxels are compressed.
    #[error("transfer syntax is {0}, expected uncompressed little-endian (1.2.840.10008.1.2[.1])")]
    TransferSyntax(String),
    /// A DICOM file that is not a Siemens mosaic.
    #[error("found {found}, expected a Siemens mosaic")]
    NotMosaic {
        /// The kind of image that was found.
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
