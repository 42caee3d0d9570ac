//! DICOM bytes → elements, in one pass and without copying.
//!
//! A scanner's export folder contains files that are half written, truncated or not DICOM at all.
//! So [`DicomError::is_incomplete`] separates incomplete files from invalid ones. Every length is
//! checked against the available bytes before it is used, and nothing is allocated.
//!
//! The reader supports uncompressed little-endian images, explicit or implicit. Sequences are
//! skipped. Errors name attributes and numbers, never a text from the file, because any text could
//! identify a patient.

use super::error::DicomError;

/// Largest file that is read, in bytes. A mosaic has about half a million bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// How deep sequences may nest. Enhanced images nest four deep.
const MAX_DEPTH: usize = 16;
/// Bytes before the first element: a preamble of 128, then `DICM`.
const PREAMBLE_BYTES: usize = 132;
const UNDEFINED_LENGTH: u32 = u32::MAX;

/// (FFFE,E000): an item of a sequence.
const ITEM: u32 = 0xFFFE_E000;
/// (FFFE,E00D): the end of an item of undefined length.
const ITEM_END: u32 = 0xFFFE_E00D;
/// (FFFE,E0DD): the end of a sequence of undefined length.
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
/// (0002,0010): the encoding of the elements after group 2.
const TRANSFER_SYNTAX_UID: u32 = 0x0002_0010;

const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// One element of the top level.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    /// Group and element number.
    pub tag: u32,
    /// Its value; `None` for a sequence or for encapsulated (compressed) pixels.
    pub value: Option<&'a [u8]>,
}

/// The elements of one file.
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    explicit: bool,
}

/// The part of an element before its value.
struct Head {
    tag: u32,
    /// Length of the value in bytes; `None` when a delimiter ends it.
    length: Option<usize>,
    /// Whether nested elements name their value representations.
    explicit_inside: bool,
}

impl<'a> Elements<'a> {
    /// The elements after the file meta group.
    ///
    /// # Errors
    ///
    /// Fails when the file is too short, is not DICOM, or has an unsupported transfer syntax.
    pub fn of_file(bytes: &'a [u8]) -> Result<Self, DicomError> {
        let truncated = DicomError::Truncated { found: bytes.len(), expected: PREAMBLE_BYTES };
        match bytes.get(128..PREAMBLE_BYTES).ok_or(truncated.clone())? {
            b"DICM" => {}
            // A copy that reserves its space first contains zeros until it is written.
            [0, 0, 0, 0] => return Err(truncated),
            _ => return Err(DicomError::NotDicom),
        }
        // The meta group is always explicit.
        let mut elements = Self { bytes, at: PREAMBLE_BYTES, explicit: true };
        let mut syntax = None;
        while elements.peek_group()? == 2 {
            let Some(element) = elements.next()? else { break };
            if element.tag == TRANSFER_SYNTAX_UID {
                syntax = element.value.and_then(text);
            }
        }
        elements.explicit = match syntax {
            Some(EXPLICIT_LITTLE_ENDIAN) => true,
            Some(IMPLICIT_LITTLE_ENDIAN) => false,
            other => return Err(DicomError::TransferSyntax(printable_uid(other))),
        };
        Ok(elements)
    }

    /// The next element of the top level; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Fails when the file ends inside the element, or the bytes are not an element.
    pub fn next(&mut self) -> Result<Option<Element<'a>>, DicomError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let head = self.head(self.explicit)?;
        let value = match head.length {
            Some(length) => Some(self.take(length)?),
            None => {
                self.skip_sequence(head.explicit_inside, 0)?;
                None
            }
        };
        Ok(Some(Element { tag: head.tag, value }))
    }

    /// The tag of the next element; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Fails when the file ends inside the tag.
    pub fn peek_tag(&self) -> Result<Option<u32>, DicomError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let mut ahead = Self { ..*self };
        Ok(Some(ahead.word()?.rotate_left(16)))
    }

    fn peek_group(&self) -> Result<u16, DicomError> {
        let mut ahead = Self { ..*self };
        let group = ahead.take(2)?;
        Ok(u16::from_le_bytes([group[0], group[1]]))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DicomError> {
        let end = self.at.saturating_add(length);
        if end as u64 > MAX_FILE_BYTES {
            let reason = "its length exceeds the largest accepted file (256 MiB)";
            return Err(DicomError::Element { at: self.at, reason });
        }
        let found = self.bytes.len();
        let taken =
            self.bytes.get(self.at..end).ok_or(DicomError::Truncated { found, expected: end })?;
        self.at = end;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, DicomError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn head(&mut self, explicit: bool) -> Result<Head, DicomError> {
        let start = self.at;
        // Group first, then element number, each little-endian.
        let tag = self.word()?.rotate_left(16);
        if !explicit || tag >> 16 == 0xFFFE {
            let length = defined(self.word()?);
            return Ok(Head { tag, length, explicit_inside: false });
        }
        let representation = self.take(2)?;
        if tag == 0 && representation == [0, 0] {
            // Zeros in place of an element: reserved, not yet written.
            return Err(DicomError::Truncated { found: start, expected: start + 8 });
        }
        if !representation.iter().all(u8::is_ascii_uppercase) {
            let reason = "its value representation is not two letters";
            return Err(DicomError::Element { at: start, reason });
        }
        let length = match representation {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN"
            | b"UR" | b"UT" | b"UV" => {
                self.take(2)?;
                defined(self.word()?)
            }
            _ => {
                let bytes = self.take(2)?;
                Some(u16::from_le_bytes([bytes[0], bytes[1]]).into())
            }
        };
        // Inside an unknown element of undefined length, elements are implicit (PS3.5 6.2.2).
        Ok(Head { tag, length, explicit_inside: representation != b"UN" })
    }

    /// Skips a sequence of undefined length, including its end.
    fn skip_sequence(&mut self, explicit: bool, depth: usize) -> Result<(), DicomError> {
        let error = |at, reason| Err(DicomError::Element { at, reason });
        if depth == MAX_DEPTH {
            return error(self.at, "sequences are nested too deeply");
        }
        loop {
            let at = self.at;
            let item = self.head(explicit)?;
            match (item.tag, item.length) {
                (SEQUENCE_END, _) => return Ok(()),
                (ITEM, Some(length)) => {
                    self.take(length)?;
                }
                (ITEM, None) => self.skip_item(explicit, depth)?,
                _ => return error(at, "a sequence contains an element that is not an item"),
            }
        }
    }

    fn skip_item(&mut self, explicit: bool, depth: usize) -> Result<(), DicomError> {
        loop {
            let head = self.head(explicit)?;
            match head.length {
                _ if head.tag == ITEM_END => return Ok(()),
                Some(length) => {
                    self.take(length)?;
                }
                None => self.skip_sequence(explicit && head.explicit_inside, depth + 1)?,
            }
        }
    }
}

fn defined(length: u32) -> Option<usize> {
    (length != UNDEFINED_LENGTH).then_some(length as usize)
}

/// A value as text, without its padding; `None` when it is empty or not ASCII-compatible.
#[must_use]
pub fn text(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0')).filter(|t| !t.is_empty())
}

/// Text for a transfer syntax; a UID that the standard does not define is not printed.
fn printable_uid(uid: Option<&str>) -> String {
    let standard = |uid: &&str| {
        uid.len() <= 64
            && uid.starts_with("1.2.840.10008.1.2")
            && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    match uid {
        None => "missing".into(),
        Some(uid) => Some(uid).filter(standard).unwrap_or("not one of the standard's").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of the given transfer syntax whose elements are these bytes.
    fn file(syntax: &str, elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\x00\x10\x00UI");
        bytes.extend((syntax.len() as u16).to_le_bytes());
        bytes.extend(syntax.as_bytes());
        bytes.extend(elements);
        bytes
    }

    fn tags(bytes: &[u8]) -> Result<Vec<u32>, DicomError> {
        let mut elements = Elements::of_file(bytes)?;
        let mut tags = Vec::new();
        while let Some(element) = elements.next()? {
            tags.push(element.tag);
        }
        Ok(tags)
    }

    #[test]
    fn nested_sequences_of_undefined_length_are_stepped_over() {
        let mut elements = Vec::new();
        elements.extend(b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"); // sequence
        elements.extend(b"\xfe\xff\x00\xe0\xff\xff\xff\xff"); // item
        elements.extend(b"\x08\x00\x50\x11SQ\0\0\xff\xff\xff\xff"); // sequence inside
        elements.extend(b"\xfe\xff\x00\xe0\x04\0\0\0abcd"); // item of four bytes
        elements.extend(b"\xfe\xff\xdd\xe0\0\0\0\0\xfe\xff\x0d\xe0\0\0\0\0");
        elements.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
        elements.extend(b"\x20\x00\x12\x00IS\x02\x001 ");
        let bytes = file("1.2.840.10008.1.2.1", &elements);
        assert_eq!(tags(&bytes), Ok(vec![0x0008_1140, 0x0020_0012]));
    }

    #[test]
    fn implicit_elements_are_read() {
        let bytes = file("1.2.840.10008.1.2\0", b"\x20\x00\x12\x00\x02\0\0\x001 ");
        let mut elements = Elements::of_file(&bytes).unwrap();
        let element = elements.next().unwrap().unwrap();
        assert_eq!((element.tag, element.value.and_then(text)), (0x0020_0012, Some("1")));
    }

    #[test]
    fn a_compressed_file_is_refused_by_the_name_of_its_syntax() {
        let jpeg = "1.2.840.10008.1.2.4.70";
        let message = tags(&file(jpeg, b"\x08\0")).unwrap_err().to_string();
        assert!(message.contains(jpeg), "{message}");
        let planted = tags(&file("Doe^Jane", b"\x08\0")).unwrap_err().to_string();
        assert!(!planted.contains("Doe"), "{planted}");
    }

    #[test]
    fn a_length_that_no_file_has_is_an_error_at_once() {
        let bytes = file("1.2.840.10008.1.2.1", b"\x29\x00\x10\x10OB\0\0\xf0\xff\xff\xff");
        let error = tags(&bytes).unwrap_err();
        assert!(!error.is_incomplete(), "{error}");
    }

    #[test]
    fn space_that_is_reserved_and_not_yet_written_is_incomplete() {
        assert!(tags(&[0; 4096]).unwrap_err().is_incomplete());
        assert!(tags(&file("1.2.840.10008.1.2.1", &[0; 64])).unwrap_err().is_incomplete());
        assert_eq!(tags(&[7; 4096]), Err(DicomError::NotDicom));
    }

    proptest! {
        /// Reading any bytes gives elements or an error, never a panic or a hang.
        #[test]
        fn foreign_bytes_never_panic(
            explicit in any::<bool>(),
            elements in proptest::collection::vec(any::<u8>(), 0..512),
        ) {
            let syntax = if explicit { "1.2.840.10008.1.2.1" } else { "1.2.840.10008.1.2\0" };
            prop_assert!(tags(&file(syntax, &elements)).map_or(true, |tags| tags.len() <= 64));
            prop_assert!(tags(&elements).is_err());
        }
    }
}
