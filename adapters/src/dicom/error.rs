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
    /// The transfer syntax is not supported.
    #[error(
        "transfer syntax is {0}, expected an uncompressed one, RLE, JPEG lossless, JPEG-LS or \
         JPEG 2000 lossless"
    )]
    TransferSyntax(String),
    /// The compressed pixels are damaged.
    #[error("compressed pixels of {0} are damaged, expected an image of the header's size")]
    Compressed(&'static str),
    /// A DICOM file that holds no image.
    #[error("found {found}, expected an image")]
    NotImage {
        /// What was found.
        found: &'static str,
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

    /// Whether the file is no image at all, so that no volume is lost with it.
    #[must_use]
    pub fn is_no_image(&self) -> bool {
        matches!(self, Self::NotDicom | Self::NotImage { .. })
    }
}
