//! Clips as folders of PNG pictures, one for each frame, without loss.
//!
//! The encoder uses fast compression. Thorough compression makes diffusion pictures no smaller
//! but takes forty times as long, and a slow output loses clips.

use std::path::Path;

use super::{
    folder::{FolderError, NewFolder},
    frames::{WrongPixels, frames},
};
use crate::product::Product;

/// Why a clip cannot be written as pictures.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// Writing into the folder failed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The pixels of the clip do not match its sizes.
    #[error(transparent)]
    Pixels(#[from] WrongPixels),
    /// Encoding failed.
    #[error("cannot encode a frame of {edge} x {edge}; its clip is skipped: {source}")]
    Encoder {
        /// Pixels along an edge.
        edge: usize,
        /// Error of the encoder.
        #[source]
        source: png::EncodingError,
    },
}

/// A folder of clips: `<run>/<index as 6 digits>/<frame as 2 digits>.png`.
#[derive(Debug)]
pub struct PngFolder(NewFolder);

impl PngFolder {
    /// Creates the folder.
    ///
    /// # Errors
    ///
    /// Fails when the folder exists and is not empty, or on an I/O error.
    pub fn create(path: &Path) -> Result<Self, PngError> {
        Ok(Self(NewFolder::create("pictures", path)?))
    }

    /// Writes a product, if it is a clip with pixels. A clip's folder gets its name once all
    /// frames are in it.
    ///
    /// # Errors
    ///
    /// Fails on an I/O error, when encoding fails, or when the pixels do not match the sizes of
    /// the clip; the next clip may succeed.
    pub fn deliver(&self, product: &Product) -> Result<(), PngError> {
        let Product::Clip(clip) = product else { return Ok(()) };
        let frames = frames(clip)?;
        if frames.n() == 0 {
            return Ok(());
        }
        let encoded = frames.iter().enumerate().map(|(at, frame)| {
            let bytes = encode(frame, frames.edge)
                .map_err(|source| PngError::Encoder { edge: frames.edge, source })?;
            Ok((format!("{at:02}.png"), bytes))
        });
        let encoded = encoded.collect::<Result<Vec<_>, PngError>>()?;
        Ok(self.0.write_all(&clip.run, &format!("{:06}", clip.index.0), &encoded)?)
    }
}

/// One frame as a file.
fn encode(rgb: &[u8], edge: usize) -> Result<Vec<u8>, png::EncodingError> {
    let edge = u32::try_from(edge).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, edge, edge);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::BufReader};

    use super::{super::frames::tests::clip, *};

    fn decode(path: &Path) -> (u32, Vec<u8>) {
        let file = BufReader::new(fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        (info.width, pixels)
    }

    #[test]
    fn every_pixel_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = PngFolder::create(folder.path()).unwrap();
        let clip = clip(42, 3, 5, |at| [at as u8, 128, 255 - at as u8]);
        pictures.deliver(&Product::Clip(clip.clone())).unwrap();
        let folder = folder.path().join("sub-01_run-1/000042");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        for (at, frame) in clip.pictures.frames.chunks(75).enumerate() {
            assert_eq!(decode(&folder.join(format!("{at:02}.png"))), (5, frame.to_vec()));
        }
    }

    #[test]
    fn a_clip_without_pixels_leaves_nothing_and_the_next_one_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = PngFolder::create(folder.path()).unwrap();
        let mut blanked = clip(0, 2, 4, |_| [9; 3]);
        blanked.pictures.frames = bytes::Bytes::new();
        pictures.deliver(&Product::Clip(blanked.clone())).unwrap();
        pictures.deliver(&Product::Clip(clip(1, 0, 0, |_| [9; 3]))).unwrap();
        assert!(!folder.path().join("sub-01_run-1").exists());
        blanked.pictures.frames = vec![0; 7].into();
        assert!(pictures.deliver(&Product::Clip(blanked)).is_err());
        pictures.deliver(&Product::Clip(clip(2, 1, 1, |_| [9; 3]))).unwrap();
        assert_eq!(decode(&folder.path().join("sub-01_run-1/000002/00.png")), (1, vec![9; 3]));
    }
}
