//! The header of an image: 198 bytes, packed, little-endian.

use crate::network::scan::MAX_VOLUME_BYTES;

/// Bytes of the header.
pub(super) const IMAGE_HEADER_BYTES: usize = 198;
/// Longest axis.
const MAX_AXIS: u16 = 1024;

/// How one pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixel {
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
    Complex64,
    Complex128,
}

impl Pixel {
    pub(super) fn size_bytes(self) -> usize {
        match self {
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 | Self::Complex64 => 8,
            Self::Complex128 => 16,
        }
    }
}

/// The values of the header that are used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ImageHeader {
    pub(super) pixel: Pixel,
    /// Pixels along x, y, z.
    pub(super) matrix: [u16; 3],
    pub(super) fov_mm: [f64; 3],
    pub(super) n_channels: u16,
    /// Centre of the image, LPS.
    pub(super) position_mm: [f64; 3],
    pub(super) read_dir: [f64; 3],
    pub(super) phase_dir: [f64; 3],
    pub(super) slice_dir: [f64; 3],
    pub(super) slice: u16,
    pub(super) contrast: u16,
    pub(super) repetition: u16,
    pub(super) image_type: u16,
    pub(super) image_index: u16,
    pub(super) series_index: u16,
}

impl ImageHeader {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Ok(bytes) = <&[u8; IMAGE_HEADER_BYTES]>::try_from(bytes) else {
            return Err(format!("found an image header of {} bytes", bytes.len()));
        };
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let f32_at =
            |at: usize| f64::from(f32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte])));
        let three = |at: usize| [f32_at(at), f32_at(at + 4), f32_at(at + 8)];
        if u16_at(0) != 1 {
            return Err(format!("found version {} of an image header, expected 1", u16_at(0)));
        }
        let pixel = match u16_at(2) {
            1 => Pixel::U16,
            2 => Pixel::I16,
            3 => Pixel::U32,
            4 => Pixel::I32,
            5 => Pixel::F32,
            6 => Pixel::F64,
            7 => Pixel::Complex64,
            8 => Pixel::Complex128,
            other => return Err(format!("found data type {other} of an image, expected 1 to 8")),
        };
        Ok(Self {
            pixel,
            matrix: [u16_at(16), u16_at(18), u16_at(20)],
            fov_mm: three(22),
            n_channels: u16_at(34),
            position_mm: three(36),
            read_dir: three(48),
            phase_dir: three(60),
            slice_dir: three(72),
            slice: u16_at(98),
            contrast: u16_at(100),
            repetition: u16_at(104),
            image_type: u16_at(124),
            image_index: u16_at(126),
            series_index: u16_at(128),
        })
    }

    /// Bytes of pixels that follow.
    pub(super) fn n_bytes(&self) -> Result<usize, String> {
        if !self.matrix.iter().all(|n| (1..=MAX_AXIS).contains(n)) {
            return Err(format!("found an image of {:?} pixels, expected 1 to 1024", self.matrix));
        }
        let n_pixels: usize = self.matrix.iter().map(|n| usize::from(*n)).product();
        let n_bytes = n_pixels * usize::from(self.n_channels.max(1)) * self.pixel.size_bytes();
        if n_bytes > MAX_VOLUME_BYTES {
            return Err(format!(
                "found an image of {} MiB, expected at most {} MiB",
                n_bytes >> 20,
                MAX_VOLUME_BYTES >> 20
            ));
        }
        Ok(n_bytes)
    }
}
