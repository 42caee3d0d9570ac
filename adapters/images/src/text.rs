//! Text files as other programs write them: UTF-8 or UTF-16, with a byte order mark or without, and
//! lines that end in LF, CR LF or CR.
//!
//! Excel and MATLAB write a byte order mark, Excel's "Unicode text" is UTF-16, and old Macs end a
//! line with CR. All readers of tables and sidecars go through this file, so they agree.

use std::path::Path;

use corticast_wire::files;

use crate::error::AdapterError;

/// Reads a text file of at most `max_bytes`. The result has no byte order mark, and its lines end in
/// LF.
///
/// # Errors
///
/// Fails when the file cannot be read, is larger, or is not text in UTF-8 or UTF-16.
pub fn read(path: &Path, max_bytes: u64) -> Result<String, AdapterError> {
    let io = |source| AdapterError::Io { path: path.to_owned(), source };
    let malformed = |reason| AdapterError::Malformed { path: path.to_owned(), reason };
    let bytes = files::read(path, max_bytes).map_err(io)?;
    decode(&bytes).map_err(malformed)
}

/// The text in these bytes. See [`read`].
///
/// # Errors
///
/// Fails when the bytes are not text in UTF-8, or UTF-16 with a byte order mark.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|&pair| unit(pair)).collect();
        String::from_utf16(&units)
            .ok()
            .filter(|_| odd.is_empty())
            .ok_or_else(|| "invalid UTF-16, expected UTF-8".to_owned())
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?,
        plain => utf8(plain)?,
    };
    if text.contains('\r') {
        return Ok(text.replace("\r\n", "\n").replace('\r', "\n"));
    }
    Ok(text)
}

/// The value of a JSON text. `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON does not
/// have, are read as `null`.
///
/// # Errors
///
/// Fails when the text is not JSON otherwise.
pub fn json(text: &str) -> Result<serde_json::Value, String> {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut is_in_string) = (text, false);
    while let Some(next) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word));
        if let (false, Some(word)) = (is_in_string, word) {
            plain.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        // An escaped quote does not end a string.
        let n_char = if is_in_string && next == '\\' { 2 } else { 1 };
        let n_byte = rest.char_indices().nth(n_char).map_or(rest.len(), |(at, _)| at);
        is_in_string ^= next == '"';
        plain.push_str(&rest[..n_byte]);
        rest = &rest[n_byte..];
    }
    serde_json::from_str(&plain).map_err(|error| error.to_string())
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        format!("byte {} is not UTF-8: save the file as UTF-8", error.valid_up_to())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_text_in_every_encoding_is_the_same() {
        let text = "onset\tduration\n1\t2\n";
        let mut utf16_le = vec![0xff, 0xfe];
        utf16_le.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let mut utf16_be = vec![0xfe, 0xff];
        utf16_be.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        let marked = [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat();
        let cr = text.replace('\n', "\r").into_bytes();
        let crlf = text.replace('\n', "\r\n").into_bytes();
        for bytes in [text.as_bytes().to_vec(), marked, utf16_le, utf16_be, cr, crlf] {
            assert_eq!(decode(&bytes).unwrap(), text);
        }
    }

    #[test]
    fn numbers_that_json_does_not_have_are_null() {
        let text = r#"{"a": NaN, "b": [-Infinity, 1], "c": "NaN \" Infinity", "d": Infinity}"#;
        let found = json(text).unwrap().to_string();
        assert_eq!(found, r#"{"a":null,"b":[null,1],"c":"NaN \" Infinity","d":null}"#);
        assert!(json("{").is_err() && json("\"\\").is_err());
    }

    #[test]
    fn what_is_not_unicode_is_named() {
        let message = decode(b"onset\tGes\xe4\xdf").unwrap_err();
        assert_eq!(message, "byte 9 is not UTF-8: save the file as UTF-8");
        assert!(decode(&[0xff, 0xfe, 0x00]).is_err());
    }

    proptest! {
        /// Any bytes are text or refused, and text has no CR.
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(text) = decode(&bytes) {
                prop_assert!(!text.contains('\r'));
            }
        }
    }
}
