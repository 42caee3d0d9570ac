//! Headers: MessagePack or JSON, with bounds on length and values.
//!
//! A header that is too long, is not a map, lacks a key or holds an invalid value gives a
//! [`MessageError`]. Nothing is allocated from an unchecked length.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    error::MessageError,
    protocol::{MAX_HEADER_BYTES, MAX_TEXT_BYTES, MAX_TIME_S, MAX_VOLUMES, SHOWN_CHARS},
};
use crate::text::shorten;

/// Encoding of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    /// MessagePack map with named keys.
    #[default]
    MessagePack,
    /// JSON object.
    Json,
}

impl Encoding {
    /// Encoding of this header: a JSON object starts with a brace, and no MessagePack map does.
    pub(super) fn of(header: &[u8]) -> Self {
        if header.first() == Some(&b'{') { Self::Json } else { Self::MessagePack }
    }
}

/// A header as bytes.
#[must_use]
pub fn encode<T: Serialize>(header: &T, encoding: Encoding) -> Bytes {
    let bytes = match encoding {
        Encoding::MessagePack => rmp_serde::to_vec_named(header).ok(),
        Encoding::Json => serde_json::to_vec(header).ok(),
    };
    bytes.expect("our own headers always encode").into()
}

/// A header from bytes.
///
/// # Errors
///
/// Fails when the header is too long, is not a map, or lacks a key.
pub fn decode<T: DeserializeOwned>(
    kind: &'static str,
    header: &[u8],
    encoding: Encoding,
) -> Result<T, MessageError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(MessageError::HeaderTooLong(header.len()));
    }
    match encoding {
        Encoding::MessagePack => rmp_serde::from_slice(header).map_err(|e| e.to_string()),
        Encoding::Json => serde_json::from_slice(header).map_err(|e| e.to_string()),
    }
    .map_err(|reason| MessageError::Header { kind, reason })
}

/// Refuses a message that has too few or too many frames.
pub(super) fn count(
    frames: &[Bytes],
    kind: &str,
    wanted: std::ops::RangeInclusive<usize>,
    expected: &'static str,
) -> Result<(), MessageError> {
    if wanted.contains(&frames.len()) {
        return Ok(());
    }
    Err(MessageError::FrameCount { kind: kind.to_owned(), expected, found: frames.len() })
}

/// Refuses NaN and infinity.
pub(super) fn finite(
    kind: &'static str,
    key: &'static str,
    value: Option<f64>,
) -> Result<(), MessageError> {
    match value {
        Some(value) if !value.is_finite() => {
            Err(MessageError::Value { kind, key, reason: format!("must be finite, got {value}") })
        }
        _ => Ok(()),
    }
}

/// Refuses long text and control characters.
pub(super) fn text(kind: &'static str, key: &'static str, value: &str) -> Result<(), MessageError> {
    if value.len() > MAX_TEXT_BYTES || value.chars().any(char::is_control) {
        let reason = format!(
            "must be at most {MAX_TEXT_BYTES} bytes without control characters, got {:?}",
            shorten(value, SHOWN_CHARS)
        );
        return Err(MessageError::Value { kind, key, reason });
    }
    Ok(())
}

/// Refuses a time that is not finite, or years away from the start of the run.
pub(super) fn time(
    kind: &'static str,
    key: &'static str,
    value: Option<f64>,
) -> Result<(), MessageError> {
    finite(kind, key, value)?;
    match value {
        Some(value) if value.abs() > MAX_TIME_S => {
            let reason = format!(
                "must be seconds since the start of the run, at most {MAX_TIME_S:e}, got {value:e}"
            );
            Err(MessageError::Value { kind, key, reason })
        }
        _ => Ok(()),
    }
}

/// Refuses a number of volumes that no run has.
pub(super) fn volumes(
    kind: &'static str,
    key: &'static str,
    value: Option<u32>,
) -> Result<(), MessageError> {
    match value {
        Some(value) if value > MAX_VOLUMES => {
            let reason = format!("must be at most {MAX_VOLUMES}, got {value}");
            Err(MessageError::Value { kind, key, reason })
        }
        _ => Ok(()),
    }
}
