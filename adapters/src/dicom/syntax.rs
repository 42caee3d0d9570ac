//! Transfer syntaxes: how a file's elements are written, and how its pixels are compressed.

use super::{elements::Encoding, error::DicomError};

/// A transfer syntax whose images are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Uncompressed, implicit, little-endian.
    ImplicitLittle,
    /// Uncompressed, explicit, little-endian.
    ExplicitLittle,
    /// Uncompressed, explicit, big-endian.
    ExplicitBig,
    /// Runs of equal bytes.
    Rle,
    /// JPEG lossless, process 14.
    JpegLossless,
    /// JPEG-LS, lossless.
    JpegLs,
    /// JPEG 2000, lossless.
    Jpeg2000,
}

impl Syntax {
    /// The transfer syntax of a UID.
    ///
    /// # Errors
    ///
    /// Fails when images of this syntax are not read. The text names the syntax.
    pub fn of(uid: Option<&str>) -> Result<Self, DicomError> {
        Ok(match uid {
            Some("1.2.840.10008.1.2") => Self::ImplicitLittle,
            Some("1.2.840.10008.1.2.1") => Self::ExplicitLittle,
            Some("1.2.840.10008.1.2.2") => Self::ExplicitBig,
            Some("1.2.840.10008.1.2.5") => Self::Rle,
            Some("1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70") => Self::JpegLossless,
            Some("1.2.840.10008.1.2.4.80") => Self::JpegLs,
            Some("1.2.840.10008.1.2.4.90") => Self::Jpeg2000,
            other => return Err(DicomError::TransferSyntax(name(other))),
        })
    }

    /// How the elements are written.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        Encoding { explicit: self != Self::ImplicitLittle, big: self == Self::ExplicitBig }
    }
}

/// Text for a transfer syntax; a UID that the standard does not define is not printed.
fn name(uid: Option<&str>) -> String {
    let Some(uid) = uid else { return "missing".into() };
    let kind = match uid {
        "1.2.840.10008.1.2.1.99" => "deflated",
        "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" => "JPEG, which loses detail",
        "1.2.840.10008.1.2.4.81" => "JPEG-LS near-lossless, which loses detail",
        "1.2.840.10008.1.2.4.91" => "JPEG 2000, which may lose detail",
        "1.2.840.10008.1.2.4.201" | "1.2.840.10008.1.2.4.202" | "1.2.840.10008.1.2.4.203" => {
            "high-throughput JPEG 2000"
        }
        _ => "",
    };
    let is_standard = uid.len() <= 64
        && uid.starts_with("1.2.840.10008.1.2")
        && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match (is_standard, kind) {
        (false, _) => "not one of the standard's".into(),
        (true, "") => uid.into(),
        (true, kind) => format!("{uid} ({kind})"),
    }
}
