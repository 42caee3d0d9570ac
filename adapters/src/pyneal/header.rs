//! The JSON header of a volume, and its voxels in a type of the wire.
//!
//! Affine and TR are strings within the JSON, as pyneal's own receiver wants them; numbers are taken
//! too. A TR above [`LARGEST_S`] is milliseconds: pyneal's simulator sends those, its senders for
//! scanners send seconds.

use bytes::Bytes;
use corticast_bold::{decode::Dtype, space::MAX_AXIS_VOXELS};
use serde_json::Value;

use crate::network::scan::MAX_VOLUME_BYTES;

/// Largest TR that counts as seconds.
const LARGEST_S: f64 = 30.0;
/// Shown of a value that is wrong.
const SHOWN: usize = 60;

/// How numpy stores one voxel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    U8,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F32,
    F64,
}

impl Stored {
    fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }
}

/// The header of a volume.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) index: u32,
    stored: Stored,
    pub(super) matrix: [usize; 3],
    /// Voxel → RAS+ mm, rows.
    pub(super) affine: [[f64; 4]; 4],
    pub(super) repetition_time_s: Option<f64>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > super::MAX_HEADER_BYTES {
            return Err(format!(
                "found a header of {} bytes, expected 64 KiB at most",
                bytes.len()
            ));
        }
        let header: Value = serde_json::from_slice(bytes)
            .map_err(|error| format!("found a header that is no JSON: {error}"))?;
        let wrong = |key: &str, expected: &str| {
            let found: String = header[key].to_string().chars().take(SHOWN).collect();
            format!("found {key} {found}, expected {expected}")
        };
        let index = header["volIdx"].as_u64().and_then(|index| u32::try_from(index).ok());
        let matrix = header["shape"].as_array().and_then(|shape| {
            let sizes: Option<Vec<usize>> =
                shape.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect();
            <[usize; 3]>::try_from(sizes?).ok()
        });
        let matrix = matrix.filter(|m| m.iter().all(|n| (1..=MAX_AXIS_VOXELS).contains(n)));
        let affine = within_string(&header["affine"]);
        let affine = affine.and_then(|affine| serde_json::from_value(affine).ok());
        let stored = match header["dtype"].as_str() {
            Some("uint8") => Stored::U8,
            Some("int8") => Stored::I8,
            Some("int16") => Stored::I16,
            Some("uint16") => Stored::U16,
            Some("int32") => Stored::I32,
            Some("uint32") => Stored::U32,
            Some("int64") => Stored::I64,
            Some("float32") => Stored::F32,
            Some("float64") => Stored::F64,
            _ => return Err(wrong("dtype", "a type of numpy such as int16 or float64")),
        };
        let header = Self {
            index: index.ok_or_else(|| wrong("volIdx", "a number from 0"))?,
            stored,
            matrix: matrix.ok_or_else(|| wrong("shape", "three sizes of 1 to 1024"))?,
            affine: affine.ok_or_else(|| wrong("affine", "4 x 4 numbers"))?,
            repetition_time_s: repetition_time_s(&header["TR"])
                .map_err(|()| wrong("TR", "seconds or milliseconds"))?,
        };
        if header.n_bytes() > 2 * MAX_VOLUME_BYTES {
            return Err(format!(
                "found a volume of {} MiB, expected at most {} MiB",
                header.n_bytes() >> 20,
                (2 * MAX_VOLUME_BYTES) >> 20
            ));
        }
        Ok(header)
    }

    /// Bytes of voxels that follow.
    pub(super) fn n_bytes(&self) -> usize {
        self.matrix.iter().product::<usize>() * self.stored.size_bytes()
    }

    /// Voxels in a type of the wire. Long integers become `float32`, exact to 16 million.
    pub(super) fn voxels(&self, bytes: &Bytes) -> (Dtype, Bytes) {
        fn to_f32<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> (Dtype, Bytes) {
            let values = bytes.as_chunks().0.iter();
            let bytes: Vec<u8> = values.flat_map(|chunk| value(*chunk).to_le_bytes()).collect();
            (Dtype::Float32, bytes.into())
        }
        match self.stored {
            Stored::I16 => (Dtype::Int16, bytes.clone()),
            Stored::U16 => (Dtype::UInt16, bytes.clone()),
            Stored::F32 => (Dtype::Float32, bytes.clone()),
            Stored::U8 => to_f32(bytes, |[byte]: [u8; 1]| f32::from(byte)),
            Stored::I8 => to_f32(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Stored::I32 => to_f32(bytes, |b| i32::from_le_bytes(b) as f32),
            Stored::U32 => to_f32(bytes, |b| u32::from_le_bytes(b) as f32),
            Stored::I64 => to_f32(bytes, |b| i64::from_le_bytes(b) as f32),
            Stored::F64 => to_f32(bytes, |b| f64::from_le_bytes(b) as f32),
        }
    }
}

/// A value, or the JSON within a string.
fn within_string(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null => None,
        other => Some(other.clone()),
    }
}

/// Absent is not wrong.
fn repetition_time_s(value: &Value) -> Result<Option<f64>, ()> {
    if value.is_null() {
        return Ok(None);
    }
    let tr = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let tr: f64 = tr.filter(|tr: &f64| tr.is_finite() && *tr > 0.0).ok_or(())?;
    Ok(Some(if tr > LARGEST_S { tr / 1e3 } else { tr }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: &str = r#"{"volIdx":3,"dtype":"int16","shape":[2,3,4],"TR":"1.5",
        "affine":"[[2,0,0,1],[0,2,0,2],[0,0,2,3],[0,0,0,1]]"}"#;

    #[test]
    fn a_header_is_read_as_pyneals_senders_and_simulator_write_it() {
        let header = Header::parse(VOLUME.as_bytes()).unwrap();
        assert_eq!((header.index, header.matrix, header.n_bytes()), (3, [2, 3, 4], 48));
        assert_eq!(format!("{:?}", header.affine[0]), "[2.0, 0.0, 0.0, 1.0]");
        assert_eq!(header.repetition_time_s, Some(1.5));
        let simulated = VOLUME.replace("\"1.5\"", "\"1500\"");
        assert_eq!(Header::parse(simulated.as_bytes()).unwrap().repetition_time_s, Some(1.5));
        let plain = VOLUME.replace("\"1.5\"", "1.5").replace("\"[[", "[[").replace("]]\"", "]]");
        assert_eq!(Header::parse(plain.as_bytes()).unwrap(), header);
    }

    #[test]
    fn a_header_that_cannot_be_is_refused_with_what_was_found() {
        for (from, to, expected) in [
            ("[2,3,4]", "[2,3]", "shape [2,3]"),
            ("[2,3,4]", "[2,3,4096]", "shape [2,3,4096]"),
            ("[2,3,4]", "[1024,1024,512]", "at most"),
            ("int16", "object", "dtype \"object\""),
            ("\"1.5\"", "\"nan\"", "TR \"nan\""),
            ("[0,0,0,1]]", "[0,0,0]]", "affine"),
            ("\"volIdx\":3", "\"volIdx\":-1", "volIdx -1"),
        ] {
            let error = Header::parse(VOLUME.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(Header::parse(b"\x80\x04pickle").unwrap_err().contains("no JSON"));
    }
}
