//! Pixel data → the bytes of its frames, little-endian, whatever the file's compression.
//!
//! Compressed pixels come in fragments: first a table of offsets, which may be empty, then one or
//! more fragments for each frame (PS3.5 A.4). The decoders get sizes from the DICOM header only,
//! so a damaged stream cannot ask for memory.

mod rle;

use std::{borrow::Cow, panic::AssertUnwindSafe};

use super::{elements::Element, error::DicomError, syntax::Syntax};

/// Largest accepted number of pixels in one picture: 4096 x 4096.
pub(super) const MAX_PICTURE_PIXELS: usize = 1 << 24;
/// Largest accepted number of bytes of all frames of one file.
const MAX_FRAMES_BYTES: usize = 512 << 20;

/// Size of the frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) n_frame: usize,
    /// Bytes of one stored pixel.
    pub(super) pixel_bytes: usize,
}

impl Frames {
    /// Bytes of one frame.
    pub(super) fn frame_bytes(&self) -> usize {
        self.columns * self.rows * self.pixel_bytes
    }

    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> usize {
        self.frame_bytes().saturating_mul(self.n_frame)
    }
}

/// All frames, one after the other.
///
/// # Errors
///
/// Fails when the pixels are fewer than the header says, or cannot be decompressed.
pub(super) fn frames<'a>(
    pixels: Element<'a>,
    syntax: Syntax,
    size: Frames,
) -> Result<Cow<'a, [u8]>, DicomError> {
    let expected = size.bytes();
    if size.columns * size.rows > MAX_PICTURE_PIXELS || expected > MAX_FRAMES_BYTES {
        let reason = format!(
            "{} x {} x {} pixels are more than an image has",
            size.columns, size.rows, size.n_frame
        );
        return Err(DicomError::Attribute { name: "PixelData:", reason });
    }
    if pixels.is_undefined {
        return unpack(pixels, syntax, size).map(Cow::Owned);
    }
    let found = pixels.value.len();
    let bytes = pixels.value.get(..expected).ok_or_else(|| DicomError::Attribute {
        name: "PixelData",
        reason: format!("holds {found} bytes, expected {expected}"),
    })?;
    let swapped = if !pixels.encoding.big {
        return Ok(Cow::Borrowed(bytes));
    } else if size.pixel_bytes > 1 {
        size.pixel_bytes
    } else if pixels.is_words {
        2
    } else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(swapped).for_each(<[u8]>::reverse);
    Ok(Cow::Owned(bytes))
}

fn unpack(pixels: Element<'_>, syntax: Syntax, size: Frames) -> Result<Vec<u8>, DicomError> {
    let mut items = pixels.items();
    let table = items.next_bytes()?.unwrap_or_default();
    let starts: Vec<usize> =
        table.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b) as usize).collect();
    // Each fragment, and where it begins after the table.
    let mut fragments: Vec<(usize, &[u8])> = Vec::new();
    let mut at = 0;
    while let Some(fragment) = items.next_bytes()? {
        fragments.push((at, fragment));
        at += 8 + fragment.len();
    }
    let n_fragment = fragments.len();
    let mut all = Vec::new();
    for frame in 0..size.n_frame {
        let of_frame = |&(at, _): &(usize, &[u8])| {
            let next = starts.get(frame + 1).copied().unwrap_or(usize::MAX);
            at >= starts[frame] && at < next
        };
        let packed: Cow<'_, [u8]> = if n_fragment == size.n_frame {
            fragments[frame].1.into()
        } else if size.n_frame == 1 {
            fragments.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
        } else if starts.len() == size.n_frame {
            let own = fragments.iter().filter(|fragment| of_frame(fragment));
            own.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
        } else {
            let reason = format!("holds {n_fragment} fragments for {} frames", size.n_frame);
            return Err(DicomError::Attribute { name: "PixelData", reason });
        };
        all.extend(one_frame(&packed, syntax, size)?);
    }
    Ok(all)
}

/// One frame from its packed bytes. `None` when they are damaged.
type Decode = fn(&[u8], Frames) -> Option<Vec<u8>>;

/// Decompresses one frame.
fn one_frame(packed: &[u8], syntax: Syntax, size: Frames) -> Result<Vec<u8>, DicomError> {
    let (name, decode): (_, Decode) = match syntax {
        Syntax::Rle => ("RLE", rle::decode),
        Syntax::JpegLossless => ("JPEG lossless", jpeg_lossless),
        Syntax::JpegLs => ("JPEG-LS", jpeg_ls),
        Syntax::Jpeg2000 => ("JPEG 2000", jpeg_2000),
        Syntax::ImplicitLittle | Syntax::ExplicitLittle | Syntax::ExplicitBig => {
            return Err(DicomError::TransferSyntax("uncompressed, and the pixels are not".into()));
        }
    };
    // The decoders are other people's; a stream that breaks one must cost its file only.
    std::panic::catch_unwind(AssertUnwindSafe(|| decode(packed, size)))
        .ok()
        .flatten()
        .filter(|bytes| bytes.len() == size.frame_bytes())
        .ok_or(DicomError::Compressed(name))
}

fn jpeg_lossless(packed: &[u8], size: Frames) -> Option<Vec<u8>> {
    let mut decoder = jpeg_decoder::Decoder::new(packed);
    decoder.set_max_decoding_buffer_size(size.frame_bytes());
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let is_of_size =
        usize::from(info.width) == size.columns && usize::from(info.height) == size.rows;
    let pixel_bytes = info.pixel_format.pixel_bytes();
    if !is_of_size || pixel_bytes > size.pixel_bytes {
        return None;
    }
    let bytes = decoder.decode().ok()?;
    match (pixel_bytes, size.pixel_bytes) {
        // The crate's pixels are in the machine's order.
        (2, 2) => {
            let pixels = bytes.as_chunks::<2>().0.iter();
            Some(pixels.flat_map(|b| u16::from_ne_bytes(*b).to_le_bytes()).collect())
        }
        (1, 2) => Some(bytes.into_iter().flat_map(|byte| [byte, 0]).collect()),
        _ => Some(bytes),
    }
}

fn jpeg_ls(packed: &[u8], size: Frames) -> Option<Vec<u8>> {
    let (columns, rows) = (u32::try_from(size.columns).ok()?, u32::try_from(size.rows).ok()?);
    if jpeg_size(packed, 0xF7)? != (size.columns, size.rows) {
        return None;
    }
    let (pixels, ..) = jpegls::decode(packed, columns, rows).ok()?;
    match size.pixel_bytes {
        1 => Some(pixels.into_iter().map(|pixel| pixel as u8).collect()),
        2 => Some(pixels.into_iter().flat_map(u16::to_le_bytes).collect()),
        _ => None,
    }
}

/// Columns and rows of a JPEG stream whose frame header has this marker.
fn jpeg_size(packed: &[u8], marker: u8) -> Option<(usize, usize)> {
    let mut at = 2;
    loop {
        let &[0xFF, kind, high, low] = packed.get(at..at + 4)? else { return None };
        if kind == marker {
            let &[_, r1, r0, c1, c0, 1] = packed.get(at + 4..at + 10)? else { return None };
            return Some((
                u16::from_be_bytes([c1, c0]).into(),
                u16::from_be_bytes([r1, r0]).into(),
            ));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
    }
}

fn jpeg_2000(packed: &[u8], size: Frames) -> Option<Vec<u8>> {
    let settings = hayro_jpeg2000::DecodeSettings::default();
    let image = hayro_jpeg2000::Image::new(packed, &settings).ok()?;
    let is_of_size = image.width() as usize == size.columns && image.height() as usize == size.rows;
    if !is_of_size {
        return None;
    }
    let mut context = hayro_jpeg2000::DecoderContext::default();
    let decoded = image.decode(&mut context).ok()?;
    let [component] = decoded.components() else { return None };
    let samples = component.samples();
    match size.pixel_bytes {
        1 => Some(samples.iter().map(|&sample| sample.round() as i32 as u8).collect()),
        // Signed pixels keep their bits.
        2 => Some(samples.iter().flat_map(|&s| (s.round() as i32 as u16).to_le_bytes()).collect()),
        _ => None,
    }
}
