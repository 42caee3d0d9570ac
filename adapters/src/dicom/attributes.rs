//! The attributes read from one file, as raw values, numbers and texts.
//!
//! A missing value, or a value of the wrong kind, is an error that names the attribute.

use super::{
    csa::CsaImageHeader,
    elements::{Element, Elements, Encoding, text},
    error::DicomError,
    syntax::Syntax,
    tags::{CSA_IMAGE_HEADER, FLOAT_PIXEL_DATA, PIXEL_DATA, PRIVATE, WANTED},
};

/// The raw values of the attributes in [`WANTED`].
pub(super) struct Attributes<'a> {
    values: [Option<Element<'a>>; WANTED.len()],
    /// How the file's pixels are written.
    pub(super) syntax: Syntax,
}

/// Private blocks of one level: which block each creator reserved.
#[derive(Default)]
pub(super) struct Blocks {
    /// Group and block, and the place of a creator in [`PRIVATE`].
    known: Vec<(u32, usize)>,
}

/// Most private blocks that are remembered in one level; files have about ten.
const MAX_BLOCKS: usize = 64;

impl Blocks {
    /// The tag under which a private element is read; its own tag for a public one.
    pub(super) fn tag(&mut self, element: &Element<'_>) -> Option<u32> {
        let (group, number) = ((element.tag >> 16) as u16, element.tag as u16);
        if group.is_multiple_of(2) {
            return Some(element.tag);
        }
        let [block, low] = number.to_be_bytes();
        if block == 0 {
            let creator = text(element.value);
            for (at, (_, name, ..)) in PRIVATE.iter().enumerate().filter(|(_, p)| p.0 == group) {
                if creator == Some(name) && self.known.len() < MAX_BLOCKS {
                    self.known.push((u32::from(group) << 8 | u32::from(low), at));
                }
            }
            return None;
        }
        let reserved = u32::from(group) << 8 | u32::from(block);
        self.known
            .iter()
            .filter(|(known, _)| *known == reserved)
            .map(|&(_, at)| PRIVATE[at])
            .find(|(_, _, element, _)| *element == low)
            .map(|(.., tag)| tag)
    }
}

impl<'a> Attributes<'a> {
    /// Reads a file up to its pixels.
    ///
    /// # Errors
    ///
    /// Fails when the file ends before its pixels, or is not a DICOM image.
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
        let (mut elements, syntax) = Elements::of_file(bytes)?;
        let mut attributes = Self { values: [None; WANTED.len()], syntax };
        let mut blocks = Blocks::default();
        while let Some(tag) = elements.peek_tag()? {
            let is_pixels = matches!(tag, PIXEL_DATA | FLOAT_PIXEL_DATA);
            if is_pixels && !with_pixels {
                return Ok(attributes);
            }
            let Some(element) = elements.next()? else { break };
            if let Some(place) =
                blocks.tag(&element).and_then(|tag| WANTED.binary_search(&tag).ok())
            {
                attributes.values[place] = Some(element);
            }
            if is_pixels {
                return Ok(attributes);
            }
        }
        match attributes.other_object() {
            Some(found) => Err(DicomError::NotImage { found }),
            None => Err(DicomError::NoPixels(bytes.len())),
        }
    }

    pub(super) fn element(&self, tag: u32) -> Option<Element<'a>> {
        WANTED.binary_search(&tag).ok().and_then(|place| self.values[place])
    }

    pub(super) fn get(&self, tag: u32) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.value)
    }

    pub(super) fn required(&self, tag: u32, name: &'static str) -> Result<&'a [u8], DicomError> {
        self.get(tag).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    pub(super) fn text(&self, tag: u32) -> Option<&'a str> {
        self.get(tag).and_then(text)
    }

    pub(super) fn integer(&self, tag: u32) -> Option<i64> {
        integer(self.text(tag)?)
    }

    /// An unsigned 16-bit number.
    pub(super) fn short(&self, tag: u32, name: &'static str) -> Result<usize, DicomError> {
        let found = self.required(tag, name)?.len();
        self.number(tag)
            .ok_or_else(|| attribute(name, format!("holds {found} bytes, expected 2")))
            .map(|number| number as usize)
    }

    /// An unsigned number of 16 or 32 bits.
    pub(super) fn number(&self, tag: u32) -> Option<u32> {
        self.element(tag).and_then(|element| unsigned(element.value, element.encoding))
    }

    /// Decimal numbers, separated by backslashes.
    pub(super) fn numbers<const N: usize>(
        &self,
        tag: u32,
        name: &'static str,
    ) -> Result<[f64; N], DicomError> {
        numbers(self.get(tag), name)
    }

    /// A decimal number; `None` when the attribute is missing, empty, or no number.
    pub(super) fn decimal(&self, tag: u32) -> Option<f64> {
        decimal(self.get(tag)?)
    }

    pub(super) fn csa(&self) -> Result<CsaImageHeader, DicomError> {
        match self.get(CSA_IMAGE_HEADER) {
            None => Ok(CsaImageHeader::default()),
            Some(bytes) => CsaImageHeader::parse(bytes)
                .map_err(|error| attribute("the CSA image header", error.to_string())),
        }
    }

    /// What the file is, if it is complete and holds no image.
    fn other_object(&self) -> Option<&'static str> {
        let class = self.text(super::tags::SOP_CLASS_UID)?;
        match class.strip_prefix("1.2.840.10008.")? {
            "1.3.10" => Some("a directory of files (DICOMDIR)"),
            "5.1.4.1.1.66" => Some("raw data"),
            "5.1.4.1.1.4.2" => Some("spectroscopy"),
            class if class.starts_with("5.1.4.1.1.88.") => Some("a structured report"),
            class if class.starts_with("5.1.4.1.1.11.") => Some("a presentation state"),
            class if class.starts_with("5.1.4.1.1.9.") => Some("a waveform"),
            class if class.starts_with("5.1.4.1.1.104.") => Some("a document"),
            _ => None,
        }
    }
}

/// An unsigned number of 16 or 32 bits.
pub(super) fn unsigned(value: &[u8], encoding: Encoding) -> Option<u32> {
    match *value {
        [a, b] if encoding.big => Some(u16::from_be_bytes([a, b]).into()),
        [a, b] => Some(u16::from_le_bytes([a, b]).into()),
        [a, b, c, d] if encoding.big => Some(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

/// A binary floating-point number of 32 or 64 bits.
pub(super) fn float(value: &[u8], encoding: Encoding) -> Option<f64> {
    let number = if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        f64::from(if encoding.big { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) })
    } else {
        let bytes = value.try_into().ok()?;
        if encoding.big { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) }
    };
    number.is_finite().then_some(number)
}

/// An integer as text; some exports write `1.0`.
fn integer(text: &str) -> Option<i64> {
    let whole = |number: &f64| number.fract().abs() < 1e-9 && number.abs() < 1e15;
    text.parse().ok().or_else(|| text.parse().ok().filter(whole).map(|number| number as i64))
}

/// The first of decimal numbers as text.
pub(super) fn decimal(value: &[u8]) -> Option<f64> {
    let first = text(value)?.split('\\').next()?.trim();
    first.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Decimal numbers, separated by backslashes.
pub(super) fn numbers<const N: usize>(
    value: Option<&[u8]>,
    name: &'static str,
) -> Result<[f64; N], DicomError> {
    let text = value.and_then(text).ok_or_else(|| missing(name))?;
    let mut numbers = [0.0; N];
    let mut found = 0;
    for part in text.split('\\').take(N + 1) {
        if let Ok(number) = part.trim().parse::<f64>()
            && number.is_finite()
        {
            if let Some(place) = numbers.get_mut(found) {
                *place = number;
            }
            found += 1;
        }
    }
    if found == N {
        return Ok(numbers);
    }
    Err(attribute(name, format!("holds {found} numbers, expected {N}")))
}

/// The attribute is not in the file.
pub(super) fn missing(name: &'static str) -> DicomError {
    attribute(name, "is missing, expected in an image of a scanner".into())
}

/// The attribute holds an invalid value.
pub(super) fn attribute(name: &'static str, reason: String) -> DicomError {
    DicomError::Attribute { name, reason }
}
