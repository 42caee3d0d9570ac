//! RLE (PS3.5 annex G): runs of equal bytes, in one segment for each byte of a pixel.

use super::Frames;

/// Most segments of a frame.
const MAX_SEGMENTS: usize = 15;

/// One frame, little-endian. `None` when the bytes are not a frame of this size.
pub(super) fn decode(packed: &[u8], size: Frames) -> Option<Vec<u8>> {
    let header = packed.get(..64)?.as_chunks::<4>().0;
    let word = |at: usize| u32::from_le_bytes(header[at]) as usize;
    let n_segment = word(0);
    if n_segment != size.pixel_bytes || n_segment > MAX_SEGMENTS {
        return None;
    }
    let n_pixel = size.columns * size.rows;
    let mut frame = vec![0; size.frame_bytes()];
    let mut plane = vec![0; n_pixel];
    for segment in 0..n_segment {
        let start = word(1 + segment);
        let end = if segment + 1 < n_segment { word(2 + segment) } else { packed.len() };
        // The first segment holds the most significant bytes.
        let place = n_segment - 1 - segment;
        segment_into(packed.get(start..end)?, &mut plane)?;
        for (pixel, byte) in frame.chunks_exact_mut(n_segment).zip(&plane) {
            pixel[place] = *byte;
        }
    }
    Some(frame)
}

/// Unpacks a segment. `None` when it has too few bytes.
fn segment_into(mut packed: &[u8], mut plane: &mut [u8]) -> Option<()> {
    while !plane.is_empty() {
        let (&count, rest) = packed.split_first()?;
        packed = rest;
        match count {
            0..=127 => {
                let (literal, rest) = packed.split_at_checked(usize::from(count) + 1)?;
                packed = rest;
                let n = literal.len().min(plane.len());
                let (here, rest) = plane.split_at_mut(n);
                here.copy_from_slice(&literal[..n]);
                plane = rest;
            }
            // A byte that says nothing.
            128 => {}
            129..=255 => {
                let (&byte, rest) = packed.split_first()?;
                packed = rest;
                let n = (257 - usize::from(count)).min(plane.len());
                let (here, rest) = plane.split_at_mut(n);
                here.fill(byte);
                plane = rest;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_are_undone_most_significant_byte_first() {
        let mut packed = vec![0; 64];
        packed[0] = 2;
        packed[4] = 64;
        packed[8] = 66;
        packed.extend([253, 1]); // four times 1
        packed.extend([128, 1, 7, 8, 255, 9]); // nothing, then 7, 8, then twice 9
        let size = Frames { columns: 2, rows: 2, n_frame: 1, pixel_bytes: 2 };
        assert_eq!(decode(&packed, size), Some(vec![7, 1, 8, 1, 9, 1, 9, 1]));
        for cut in 0..packed.len() {
            assert_eq!(decode(&packed[..cut], size), None, "cut at {cut}");
        }
    }
}
