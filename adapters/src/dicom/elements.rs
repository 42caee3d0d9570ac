//! DICOM bytes → elements, in one pass and without copying.
//!
//! A scanner's export folder contains files that are half written, truncated or not DICOM at all.
//! So [`DicomError::is_incomplete`] separates incomplete files from invalid ones. Every length is
//! checked against the available bytes before it is used, and nothing is allocated.
//!
//! Elements may be explicit or implicit, in either byte order, and nested in sequences. A file may
//! lack its preamble or its meta group. Errors name attributes and numbers, never a text from the
//! file, because any text could identify a patient.

use super::{error::DicomError, syntax::Syntax};

/// Largest file that is read, in bytes. A mosaic has about half a million bytes; an enhanced file
/// can hold a whole series.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
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

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Elements name their value representations.
    pub explicit: bool,
    /// Numbers are big-endian.
    pub big: bool,
}

/// One element.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    /// Group and element number.
    pub tag: u32,
    /// Its value. Of a sequence or of encapsulated pixels: its items, without the delimiter.
    pub value: &'a [u8],
    /// A delimiter ends it: a sequence, or encapsulated (compressed) pixels.
    pub is_undefined: bool,
    /// Its value consists of 16-bit words, which a big-endian file swaps.
    pub is_words: bool,
    /// How elements inside it are written.
    pub encoding: Encoding,
}

/// The elements of one file, or of one item of a sequence.
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    encoding: Encoding,
    /// The bytes are an item, which ends where it says; more bytes cannot complete it.
    is_item: bool,
}

/// The part of an element before its value.
struct Head {
    tag: u32,
    /// Length of the value in bytes; `None` when a delimiter ends it.
    length: Option<usize>,
    is_words: bool,
    /// How nested elements are written.
    inside: Encoding,
}

impl<'a> Element<'a> {
    /// The items of a sequence, or the fragments of encapsulated pixels.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        let elements =
            Elements { bytes: self.value, at: 0, encoding: self.encoding, is_item: true };
        Items { elements }
    }

    /// The elements of the first item of a sequence.
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not items.
    pub fn first_item(&self) -> Result<Option<Elements<'a>>, DicomError> {
        self.items().next()
    }
}

/// The items of a sequence.
pub struct Items<'a> {
    elements: Elements<'a>,
}

impl<'a> Items<'a> {
    /// The elements of the next item.
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not items.
    pub fn next(&mut self) -> Result<Option<Elements<'a>>, DicomError> {
        let encoding = self.elements.encoding;
        let item = self.next_bytes()?;
        Ok(item.map(|bytes| Elements { bytes, at: 0, encoding, is_item: true }))
    }

    /// The bytes of the next item.
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not items.
    pub fn next_bytes(&mut self) -> Result<Option<&'a [u8]>, DicomError> {
        let elements = &mut self.elements;
        let at = elements.at;
        if at == elements.bytes.len() {
            return Ok(None);
        }
        let head = elements.head(elements.encoding)?;
        match (head.tag, head.length) {
            (SEQUENCE_END, _) => Ok(None),
            (ITEM, Some(length)) => elements.take(length).map(Some),
            (ITEM, None) => {
                let start = elements.at;
                let end = elements.skip_item(elements.encoding, 0)?;
                Ok(Some(&elements.bytes[start..end]))
            }
            _ => {
                let reason = "a sequence contains an element that is not an item";
                Err(DicomError::Element { at, reason })
            }
        }
    }
}

impl<'a> Elements<'a> {
    /// The elements after the file meta group, and the transfer syntax.
    ///
    /// # Errors
    ///
    /// Fails when the file is too short, is not DICOM, or has an unknown transfer syntax.
    pub fn of_file(bytes: &'a [u8]) -> Result<(Self, Syntax), DicomError> {
        // The meta group is always explicit and little-endian.
        let encoding = Encoding { explicit: true, big: false };
        let mut elements = Self { bytes, at: start_of(bytes)?, encoding, is_item: false };
        let mut syntax = None;
        while elements.peek_group()? == 2 {
            let Some(element) = elements.next()? else { break };
            if element.tag == TRANSFER_SYNTAX_UID {
                syntax = Some(Syntax::of(text(element.value))?);
            }
        }
        let syntax = match syntax {
            Some(syntax) => syntax,
            None => elements.guess()?,
        };
        elements.encoding = syntax.encoding();
        Ok((elements, syntax))
    }

    /// The encoding of a file without a meta group, from its first element.
    fn guess(&self) -> Result<Syntax, DicomError> {
        let mut ahead = Self { ..*self };
        let head = ahead.take(8)?;
        let is_explicit = head[4..6].iter().all(u8::is_ascii_uppercase);
        Ok(match (head[1] == 0, is_explicit) {
            (true, false) => Syntax::ImplicitLittle,
            (true, true) => Syntax::ExplicitLittle,
            (false, _) => Syntax::ExplicitBig,
        })
    }

    /// The next element of this level; `None` at the end.
    ///
    /// # Errors
    ///
    /// Fails when the file ends inside the element, or the bytes are not an element.
    pub fn next(&mut self) -> Result<Option<Element<'a>>, DicomError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let head = self.head(self.encoding)?;
        let Head { tag, is_words, inside, .. } = head;
        let start = self.at;
        let value = match head.length {
            Some(length) => self.take(length)?,
            None => {
                let end = self.skip_sequence(inside, 0)?;
                &self.bytes[start..end]
            }
        };
        let is_undefined = head.length.is_none();
        Ok(Some(Element { tag, value, is_undefined, is_words, encoding: inside }))
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
        Self { ..*self }.tag(self.encoding.big).map(Some)
    }

    fn peek_group(&self) -> Result<u16, DicomError> {
        let mut ahead = Self { ..*self };
        let group = ahead.take(2)?;
        Ok(u16::from_le_bytes([group[0], group[1]]))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DicomError> {
        let end = self.at.saturating_add(length);
        let at = self.at;
        if end as u64 > MAX_FILE_BYTES {
            let reason = "its length exceeds the largest accepted file (512 MiB)";
            return Err(DicomError::Element { at, reason });
        }
        let found = self.bytes.len();
        let Some(taken) = self.bytes.get(at..end) else {
            let reason = "it is longer than the item around it";
            return Err(if self.is_item {
                DicomError::Element { at, reason }
            } else {
                DicomError::Truncated { found, expected: end }
            });
        };
        self.at = end;
        Ok(taken)
    }

    fn half(&mut self, big: bool) -> Result<u16, DicomError> {
        let bytes = self.take(2)?;
        let bytes = [bytes[0], bytes[1]];
        Ok(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn word(&mut self, big: bool) -> Result<u32, DicomError> {
        let bytes = self.take(4)?;
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        Ok(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Group first, then element number.
    fn tag(&mut self, big: bool) -> Result<u32, DicomError> {
        let group = self.half(big)?;
        Ok(u32::from(group) << 16 | u32::from(self.half(big)?))
    }

    fn head(&mut self, encoding: Encoding) -> Result<Head, DicomError> {
        let start = self.at;
        let Encoding { explicit, big } = encoding;
        let tag = self.tag(big)?;
        if !explicit || tag >> 16 == 0xFFFE {
            let length = defined(self.word(big)?);
            return Ok(Head { tag, length, is_words: true, inside: encoding });
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
                defined(self.word(big)?)
            }
            _ => Some(self.half(big)?.into()),
        };
        // Inside an unknown element, elements are implicit and little-endian (PS3.5 6.2.2).
        let inside = match representation {
            b"UN" => Encoding { explicit: false, big: false },
            _ => encoding,
        };
        Ok(Head { tag, length, is_words: representation == b"OW", inside })
    }

    /// Skips a sequence of undefined length. Returns where its delimiter begins.
    fn skip_sequence(&mut self, encoding: Encoding, depth: usize) -> Result<usize, DicomError> {
        let error = |at, reason| Err(DicomError::Element { at, reason });
        if depth == MAX_DEPTH {
            return error(self.at, "sequences are nested too deeply");
        }
        loop {
            let at = self.at;
            let item = self.head(encoding)?;
            match (item.tag, item.length) {
                (SEQUENCE_END, _) => return Ok(at),
                (ITEM, Some(length)) => {
                    self.take(length)?;
                }
                (ITEM, None) => {
                    self.skip_item(encoding, depth)?;
                }
                _ => return error(at, "a sequence contains an element that is not an item"),
            }
        }
    }

    /// Skips an item of undefined length. Returns where its delimiter begins.
    fn skip_item(&mut self, encoding: Encoding, depth: usize) -> Result<usize, DicomError> {
        loop {
            let at = self.at;
            let head = self.head(encoding)?;
            match head.length {
                _ if head.tag == ITEM_END => return Ok(at),
                Some(length) => {
                    self.take(length)?;
                }
                None => {
                    self.skip_sequence(head.inside, depth + 1)?;
                }
            }
        }
    }
}

/// Where the first element begins.
fn start_of(bytes: &[u8]) -> Result<usize, DicomError> {
    // Without a preamble a file begins with group 2 or 8.
    let bare = |bytes: &[u8]| match bytes.get(..8) {
        Some(&[2 | 8, 0, _, 0, a, b, ..]) => {
            a.is_ascii_uppercase() && b.is_ascii_uppercase() || a < 128 && b == 0
        }
        Some(&[0, 8, 0, _, a, b, ..]) => a.is_ascii_uppercase() && b.is_ascii_uppercase(),
        _ => false,
    };
    let truncated = DicomError::Truncated { found: bytes.len(), expected: PREAMBLE_BYTES };
    match bytes.get(128..PREAMBLE_BYTES) {
        Some(b"DICM") => Ok(PREAMBLE_BYTES),
        _ if bare(bytes) => Ok(0),
        // A copy that reserves its space first contains zeros until it is written.
        _ if bytes.starts_with(&[0x1F, 0x8B]) => {
            Err(DicomError::NotImage { found: "a gzipped file, which has to be unpacked" })
        }
        None | Some([0, 0, 0, 0]) => Err(truncated),
        _ => Err(DicomError::NotDicom),
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

#[cfg(test)]
mod tests;
