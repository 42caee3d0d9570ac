//! Stored pixels → voxels of the wire: 16 bits, or floating-point numbers.
//!
//! Only the bits from `HighBit` down to `HighBit - BitsStored + 1` belong to a pixel. Old scanners
//! wrote overlays into the bits above. Padding is not signal and becomes 0.

use corticast_bold::decode::Dtype;

use super::{
    attributes::{Attributes, attribute},
    error::DicomError,
    tags::{
        BITS_ALLOCATED, BITS_STORED, FLOAT_PIXEL_DATA, HIGH_BIT, PHOTOMETRIC, PIXEL_DATA,
        PIXEL_PADDING, PIXEL_PADDING_LIMIT, PIXEL_REPRESENTATION, SAMPLES_PER_PIXEL,
    },
};

/// How one pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelFormat {
    /// Bits of one stored pixel: 8, 16 or 32.
    allocated: u32,
    /// Bits that belong to the pixel.
    stored: u32,
    /// Bits below those of the pixel.
    shift: u32,
    is_signed: bool,
    is_float: bool,
    /// Smallest and largest value that stand for no signal.
    padding: Option<(i64, i64)>,
}

impl PixelFormat {
    /// The format according to the header.
    ///
    /// # Errors
    ///
    /// Fails when a pixel is no single number of 8, 16 or 32 bits.
    pub(super) fn of(attributes: &Attributes<'_>) -> Result<Self, DicomError> {
        let samples = attributes.number(SAMPLES_PER_PIXEL).unwrap_or(1);
        if samples != 1 || attributes.text(PHOTOMETRIC).is_some_and(|p| p.starts_with("PALETTE")) {
            return Err(DicomError::NotImage { found: "a picture in colours" });
        }
        let allocated = attributes.short(BITS_ALLOCATED, "BitsAllocated")? as u32;
        let is_float = attributes.element(FLOAT_PIXEL_DATA).is_some()
            && attributes.element(PIXEL_DATA).is_none();
        if !matches!(allocated, 8 | 16 | 32) || is_float && allocated != 32 {
            let reason = format!("is {allocated}, expected 8, 16 or 32");
            return Err(attribute("BitsAllocated", reason));
        }
        let stored = attributes.number(BITS_STORED).unwrap_or(allocated);
        let high = attributes.number(HIGH_BIT).unwrap_or(stored.wrapping_sub(1));
        if !(1..=allocated).contains(&stored) || high >= allocated || high + 1 < stored {
            let reason =
                format!("is {stored} with HighBit {high}, expected to lie within {allocated} bits");
            return Err(attribute("BitsStored", reason));
        }
        let is_signed = attributes.number(PIXEL_REPRESENTATION).unwrap_or(0) != 0;
        let format = Self {
            allocated,
            stored,
            shift: high + 1 - stored,
            is_signed,
            is_float,
            padding: None,
        };
        let padding = |tag| attributes.number(tag).map(|bits| format.value(bits));
        let padding = padding(PIXEL_PADDING).map(|first| {
            let limit = padding(PIXEL_PADDING_LIMIT).unwrap_or(first);
            (first.min(limit), first.max(limit))
        });
        Ok(Self { padding: padding.filter(|&range| range != (0, 0)), ..format })
    }

    /// Bytes of one stored pixel.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.allocated as usize / 8
    }

    /// How a voxel is sent.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match (self.allocated, self.is_signed) {
            (32, _) => Dtype::Float32,
            (_, true) => Dtype::Int16,
            (_, false) => Dtype::UInt16,
        }
    }

    /// The value of the stored bits, before padding is removed.
    fn value(&self, bits: u32) -> i64 {
        let unused = 32 - self.stored;
        let bits = bits >> self.shift << unused;
        if self.is_signed { i64::from(bits as i32 >> unused) } else { i64::from(bits >> unused) }
    }

    fn signal(&self, bits: u32) -> i64 {
        let value = self.value(bits);
        if self.padding.is_some_and(|(low, high)| (low..=high).contains(&value)) {
            0
        } else {
            value
        }
    }

    /// Voxels as they are sent, from little-endian stored pixels.
    #[must_use]
    pub fn voxels(&self, mut stored: Vec<u8>) -> Vec<u8> {
        let whole = self.stored == self.allocated && self.padding.is_none();
        match self.allocated {
            _ if self.is_float => stored,
            16 if whole => stored,
            16 if self.padding.is_none() => {
                // Shifts of 16 bits, which the compiler does for many pixels at once.
                let (up, down) = (16 - self.stored - self.shift, 16 - self.stored);
                for pixel in stored.as_chunks_mut::<2>().0 {
                    let bits = u16::from_le_bytes(*pixel) << up;
                    let value =
                        if self.is_signed { (bits as i16 >> down) as u16 } else { bits >> down };
                    *pixel = value.to_le_bytes();
                }
                stored
            }
            16 => {
                for pixel in stored.as_chunks_mut::<2>().0 {
                    *pixel = (self.signal(u16::from_le_bytes(*pixel).into()) as u16).to_le_bytes();
                }
                stored
            }
            8 => {
                let pixels = stored.into_iter();
                pixels.flat_map(|p| (self.signal(p.into()) as u16).to_le_bytes()).collect()
            }
            _ => {
                for pixel in stored.as_chunks_mut::<4>().0 {
                    *pixel = (self.signal(u32::from_le_bytes(*pixel)) as f32).to_le_bytes();
                }
                stored
            }
        }
    }
}

/// `slope · voxel + intercept` of voxels as they are sent, as floating-point numbers.
#[must_use]
pub fn scaled(voxels: &[u8], dtype: Dtype, slope: f64, intercept: f64) -> Vec<u8> {
    let signal = |value: f64| ((slope * value + intercept) as f32).to_le_bytes();
    let (pairs, words) = (voxels.as_chunks::<2>().0, voxels.as_chunks::<4>().0);
    match dtype {
        Dtype::Int16 => pairs.iter().flat_map(|b| signal(i16::from_le_bytes(*b).into())).collect(),
        Dtype::UInt16 => pairs.iter().flat_map(|b| signal(u16::from_le_bytes(*b).into())).collect(),
        Dtype::Float32 => {
            words.iter().flat_map(|b| signal(f32::from_le_bytes(*b).into())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(allocated: u32, stored: u32, shift: u32, is_signed: bool) -> PixelFormat {
        PixelFormat { allocated, stored, shift, is_signed, is_float: false, padding: None }
    }

    #[test]
    fn bits_above_and_below_the_pixel_are_not_its_value() {
        // 4369 is 273 with an overlay's bit above the twelve of the pixel.
        let voxels = format(16, 12, 0, false).voxels(4369_u16.to_le_bytes().to_vec());
        assert_eq!(voxels, 273_u16.to_le_bytes());
        let voxels = format(16, 12, 4, false).voxels((273_u16 << 4 | 5).to_le_bytes().to_vec());
        assert_eq!(voxels, 273_u16.to_le_bytes());
    }

    #[test]
    fn signed_pixels_of_any_length_keep_their_sign() {
        for stored in [9, 12, 13, 16] {
            let mask = (1_u32 << stored) - 1;
            let bits = ((-7_i16 as u16 as u32) & mask) as u16;
            let voxels = format(16, stored, 0, true).voxels(bits.to_le_bytes().to_vec());
            assert_eq!(voxels, (-7_i16).to_le_bytes(), "{stored} bits");
        }
        assert_eq!(format(8, 8, 0, true).voxels(vec![0xFF, 3]), [0xFF, 0xFF, 3, 0]);
    }

    #[test]
    fn padding_is_no_signal() {
        let padded = PixelFormat { padding: Some((-2000, -2000)), ..format(16, 16, 0, true) };
        let stored = [5_i16, -2000, -1999].into_iter().flat_map(i16::to_le_bytes).collect();
        let expected: Vec<u8> = [5_i16, 0, -1999].into_iter().flat_map(i16::to_le_bytes).collect();
        assert_eq!(padded.voxels(stored), expected);
    }

    #[test]
    fn long_pixels_become_floating_point_numbers() {
        let stored = (-70_000_i32).to_le_bytes().to_vec();
        assert_eq!(format(32, 32, 0, true).voxels(stored), (-70_000_f32).to_le_bytes());
    }
}
