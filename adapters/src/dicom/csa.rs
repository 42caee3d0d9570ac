//! Siemens' own header inside the DICOM header: the CSA image header, (0029,1010).
//!
//! ```text
//! "SV10"  4 bytes  n_tag u32  u32 | tag, tag, …
//! tag     name[64]  vm i32  vr[4]  type i32  n_item u32  i32 | item, item, …
//! item    u32  length u32  u32  u32 | text of that length, padded to four bytes
//! ```
//!
//! Scanners before software VB wrote an older layout without the first eight bytes. There the first
//! word of an item is its length plus the number of items of the first tag.
//!
//! Siemens never published the layout, and the counts in it cannot be trusted: counts are capped
//! and lengths are checked against the available bytes. Three of about ninety tags are read; the
//! others are skipped, so their values never leave this module.

use super::elements::text;

/// Largest accepted number of tags. Scanners write about ninety.
const MAX_TAGS: u32 = 512;
/// Largest accepted number of items in one tag: one per slice, and some padding.
const MAX_ITEMS: u32 = 2048;

/// The fields of the CSA image header that describe a mosaic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsaImageHeader {
    /// Slices in the mosaic.
    pub n_slice: Option<f64>,
    /// Direction from slice 0 to slice 1, in LPS axes.
    pub slice_normal: Option<[f64; 3]>,
    /// Start of each slice after the start of the volume, in ms.
    pub slice_times_ms: Vec<f64>,
}

/// Why bytes are not a valid CSA header.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CsaError {
    /// The bytes do not begin as a CSA header does.
    #[error("does not begin with `SV10`, nor as the older layout")]
    NotSv10,
    /// The bytes end inside a tag.
    #[error("ends after {found} bytes, expected at least {expected}")]
    Truncated {
        /// Bytes in the header.
        found: usize,
        /// Bytes that the tags read so far need.
        expected: usize,
    },
    /// A count exceeds its limit.
    #[error("declares {found} {what}, expected at most {most}")]
    TooMany {
        /// `tags` or `items`.
        what: &'static str,
        /// The count in the header.
        found: u32,
        /// The largest accepted count.
        most: u32,
    },
}

impl CsaImageHeader {
    /// Parses the value of (0029,1010).
    ///
    /// # Errors
    ///
    /// Fails when the bytes are not an `SV10` header, end early, or declare too many tags or items.
    pub fn parse(bytes: &[u8]) -> Result<Self, CsaError> {
        let mut cursor = Cursor { bytes, at: 0, older: None };
        if bytes.starts_with(b"SV10") {
            cursor.take(8)?;
        } else if bytes.get(4..8) == Some(&[77, 0, 0, 0]) {
            cursor.older = Some(0);
        } else {
            return Err(CsaError::NotSv10);
        }
        let n_tag = cursor.count("tags", MAX_TAGS)?;
        cursor.take(4)?;

        let mut header = Self::default();
        for at in 0..n_tag {
            let name = cursor.take(64)?;
            let name = &name[..name.iter().position(|&byte| byte == 0).unwrap_or(name.len())];
            cursor.take(12)?;
            let n_item = cursor.count("items", MAX_ITEMS)?;
            cursor.take(4)?;
            if at == 0 {
                cursor.older = cursor.older.map(|_| n_item);
            }
            let wanted = matches!(
                name,
                b"NumberOfImagesInMosaic" | b"SliceNormalVector" | b"MosaicRefAcqTimes"
            );
            let mut numbers = Vec::new();
            for _ in 0..n_item {
                let value = cursor.item()?;
                // Unused items are empty.
                if wanted && let Some(number) = text(value).and_then(|text| text.parse().ok()) {
                    numbers.push(number);
                }
            }
            match name {
                b"NumberOfImagesInMosaic" => header.n_slice = numbers.first().copied(),
                b"SliceNormalVector" => header.slice_normal = numbers.try_into().ok(),
                b"MosaicRefAcqTimes" => header.slice_times_ms = numbers,
                _ => {}
            }
        }
        Ok(header)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// In the older layout: the number of items of the first tag.
    older: Option<u32>,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], CsaError> {
        let expected = self.at.saturating_add(length);
        let found = self.bytes.len();
        let taken =
            self.bytes.get(self.at..expected).ok_or(CsaError::Truncated { found, expected })?;
        self.at = expected;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, CsaError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn count(&mut self, what: &'static str, most: u32) -> Result<u32, CsaError> {
        let found = self.word()?;
        if found > most { Err(CsaError::TooMany { what, found, most }) } else { Ok(found) }
    }

    fn item(&mut self) -> Result<&'a [u8], CsaError> {
        let first = self.word()?;
        let second = self.word()?;
        let length = self.older.map_or(second, |n| first.saturating_sub(n)) as usize;
        self.take(8)?;
        let value = self.take(length)?;
        // The padding of the very last item may be missing.
        self.at = self.at.next_multiple_of(4).min(self.bytes.len());
        Ok(value.split(|&byte| byte == 0).next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(name: &str, items: &[&str]) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(64, 0);
        bytes.extend([0; 12]);
        bytes.extend((items.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        for item in items {
            bytes.extend([0; 4]);
            bytes.extend((item.len() as u32).to_le_bytes());
            bytes.extend([0; 8]);
            bytes.extend(item.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn header(tags: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"SV10\x04\x03\x02\x01".to_vec();
        bytes.extend((tags.len() as u32).to_le_bytes());
        bytes.extend(77_u32.to_le_bytes());
        bytes.extend(tags.concat());
        bytes
    }

    fn example() -> Vec<u8> {
        header(&[
            tag("EchoLinePosition", &["32", ""]),
            tag("NumberOfImagesInMosaic", &["27      ", "", ""]),
            tag("SliceNormalVector", &["0.0", "-0.5", "0.75"]),
            tag("MosaicRefAcqTimes", &["0.0", "747.5", "55.0"]),
        ])
    }

    #[test]
    fn three_tags_are_read_and_empty_items_are_not_values() {
        let expected = CsaImageHeader {
            n_slice: Some(27.0),
            slice_normal: Some([0.0, -0.5, 0.75]),
            slice_times_ms: vec![0.0, 747.5, 55.0],
        };
        assert_eq!(CsaImageHeader::parse(&example()), Ok(expected));
    }

    #[test]
    fn the_older_layout_holds_the_same() {
        // No magic; the first word of an item is its length plus the items of the first tag.
        let mut bytes = example()[8..].to_vec();
        let mut at = 8;
        while at < bytes.len() {
            let n_item = u32::from_le_bytes(bytes[at + 76..at + 80].try_into().unwrap());
            at += 84;
            for _ in 0..n_item {
                let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
                bytes[at..at + 4].copy_from_slice(&(length + 2).to_le_bytes());
                bytes[at + 4..at + 8].copy_from_slice(&77_u32.to_le_bytes());
                at += 16 + length.next_multiple_of(4) as usize;
            }
        }
        assert_eq!(CsaImageHeader::parse(&bytes), CsaImageHeader::parse(&example()));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = example();
        for cut in 0..whole.len() {
            assert!(CsaImageHeader::parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn absurd_counts_are_named_and_not_walked() {
        let mut bytes = example();
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let message = CsaImageHeader::parse(&bytes).unwrap_err().to_string();
        assert_eq!(message, "declares 4294967295 tags, expected at most 512");
    }

    proptest! {
        /// Any bytes, also after a valid start, give a header or an error.
        #[test]
        fn foreign_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2048),
            at in 0_usize..400,
        ) {
            let begins = bytes.starts_with(b"SV10") || bytes.get(4..8) == Some(&[77, 0, 0, 0]);
            prop_assert!(begins || CsaImageHeader::parse(&bytes).is_err());
            let mut damaged = example();
            for (to, from) in damaged[8 + at..].iter_mut().zip(&bytes) {
                *to = *from;
            }
            if let Ok(header) = CsaImageHeader::parse(&damaged) {
                prop_assert!(header.slice_times_ms.len() <= damaged.len() / 16);
            }
        }
    }
}
