//! The attributes read from one file, as raw values, numbers and texts.
//!
//! A missing value, or a value of the wrong kind, is an error that names the attribute.

use super::{
    csa::CsaImageHeader,
    elements::{Elements, text},
    error::DicomError,
    tags::{CSA_IMAGE_HEADER, N_IMAGES_IN_MOSAIC, PIXEL_DATA, WANTED},
};

/// The raw values of the attributes in [`WANTED`].
pub(super) struct Attributes<'a> {
    values: [Option<&'a [u8]>; WANTED.len()],
}

impl<'a> Attributes<'a> {
    /// Reads a file up to its pixels.
    ///
    /// # Errors
    ///
    /// Fails when the file ends before its pixels, or is not an uncompressed DICOM image.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DicomError> {
        Self::read_up_to(bytes, true)
    }

    /// Reads the beginning of a file, without its pixels.
    ///
    /// # Errors
    ///
    /// Fails when the bytes end before the pixels begin, or are not a DICOM image.
    pub(super) fn read_header(bytes: &'a [u8]) -> Result<Self, DicomError> {
        Self::read_up_to(bytes, false)
    }

    fn read_up_to(bytes: &'a [u8], with_pixels: bool) -> Result<Self, DicomError> {
        let mut elements = Elements::of_file(bytes)?;
        let mut attributes = Self { values: [None; WANTED.len()] };
        // Blocks of private elements, as (group, second byte of the element number).
        let (mut mr_block, mut csa_block) = (None, None);
        while let Some(tag) = elements.peek_tag()? {
            if tag == PIXEL_DATA && !with_pixels {
                return Ok(attributes);
            }
            let Some(element) = elements.next()? else { break };
            let (block, number) = (element.tag >> 8, element.tag & 0xFF);
            if matches!(element.tag >> 16, 0x0019 | 0x0029) {
                let creator = element.value.and_then(text);
                let reserved = Some((block & 0xFF_FF00) | number);
                match (block & 0xFF, creator) {
                    (0, Some("SIEMENS MR HEADER")) => mr_block = mr_block.or(reserved),
                    (0, Some("SIEMENS CSA HEADER")) => csa_block = csa_block.or(reserved),
                    _ if Some(block) == mr_block && number == 0x0A => {
                        attributes.put(N_IMAGES_IN_MOSAIC, element.value);
                    }
                    _ if Some(block) == csa_block && number == 0x10 => {
                        attributes.put(CSA_IMAGE_HEADER, element.value);
                    }
                    _ => {}
                }
                continue;
            }
            attributes.put(element.tag, element.value);
            if element.tag == PIXEL_DATA {
                if element.value.is_none() {
                    return Err(DicomError::TransferSyntax("encapsulated (compressed)".into()));
                }
                return Ok(attributes);
            }
        }
        Err(DicomError::NoPixels(bytes.len()))
    }

    fn put(&mut self, tag: u32, value: Option<&'a [u8]>) {
        if let Ok(place) = WANTED.binary_search(&tag) {
            self.values[place] = value;
        }
    }

    pub(super) fn get(&self, tag: u32) -> Option<&'a [u8]> {
        WANTED.binary_search(&tag).ok().and_then(|place| self.values[place])
    }

    pub(super) fn required(&self, tag: u32, name: &'static str) -> Result<&'a [u8], DicomError> {
        self.get(tag).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    pub(super) fn text(&self, tag: u32) -> Option<&'a str> {
        self.get(tag).and_then(text)
    }

    pub(super) fn integer(&self, tag: u32) -> Option<i64> {
        self.text(tag)?.parse().ok()
    }

    /// An unsigned 16-bit number.
    pub(super) fn short(&self, tag: u32, name: &'static str) -> Result<usize, DicomError> {
        match self.required(tag, name)? {
            &[low, high] => Ok(u16::from_le_bytes([low, high]).into()),
            value => Err(attribute(name, format!("holds {} bytes, expected 2", value.len()))),
        }
    }

    pub(super) fn expect_short(
        &self,
        tag: u32,
        name: &'static str,
        wanted: usize,
    ) -> Result<(), DicomError> {
        match self.short(tag, name)? {
            found if found == wanted => Ok(()),
            found => Err(attribute(name, format!("is {found}, expected {wanted}"))),
        }
    }

    /// Decimal numbers, separated by backslashes.
    pub(super) fn numbers<const N: usize>(
        &self,
        tag: u32,
        name: &'static str,
    ) -> Result<[f64; N], DicomError> {
        let text = self.text(tag).ok_or_else(|| missing(name))?;
        let numbers: Vec<f64> = text
            .split('\\')
            .take(N + 1)
            .filter_map(|part| part.trim().parse().ok().filter(|number: &f64| number.is_finite()))
            .collect();
        let found = numbers.len();
        numbers
            .try_into()
            .map_err(|_| attribute(name, format!("holds {found} numbers, expected {N}")))
    }

    pub(super) fn optional_number(
        &self,
        tag: u32,
        name: &'static str,
    ) -> Result<Option<f64>, DicomError> {
        match self.text(tag) {
            None => Ok(None),
            Some(_) => self.numbers(tag, name).map(|[number]| Some(number)),
        }
    }

    pub(super) fn csa(&self) -> Result<CsaImageHeader, DicomError> {
        match self.get(CSA_IMAGE_HEADER) {
            None => Ok(CsaImageHeader::default()),
            Some(bytes) => CsaImageHeader::parse(bytes)
                .map_err(|error| attribute("the CSA image header", error.to_string())),
        }
    }
}

/// The attribute is not in the file.
pub(super) fn missing(name: &'static str) -> DicomError {
    attribute(name, "is missing, expected in a Siemens mosaic".into())
}

/// The attribute holds an invalid value.
pub(super) fn attribute(name: &'static str, reason: String) -> DicomError {
    DicomError::Attribute { name, reason }
}
