//! A NIfTI-1 file, volume by volume: never more than one volume in memory.
//!
//! `int16`, `uint16` and `float32` voxels are the bytes of the file (swapped when it is
//! big-endian); other types are converted. A file that ends too early gives its complete volumes,
//! then an error with their number. With its last volume a file is read to its end, so a wrong gzip
//! checksum is an error in place of that volume; `whole` finds it before the first one.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use corticast_wire::{files, text::count};

use super::{
    gzip::Gzip,
    header::{HEADER_BYTES, NiftiHeader, StoredType},
    pair::pair_of,
};
use crate::error::AdapterError;

/// Largest buffer that is reserved before any voxel is read.
const TRUSTED_BYTES: usize = 1 << 24;

/// Bytes after the last volume that are read to check the end of the file.
pub(super) const MAX_REST_BYTES: u64 = 1 << 24;

/// An open NIfTI-1 file, compressed or not (recognised by content, not by name), or a `.hdr`/`.img`
/// pair, named by either file.
pub struct NiftiReader {
    path: PathBuf,
    header: NiftiHeader,
    raw_header: [u8; HEADER_BYTES],
    file_bytes: u64,
    input: Box<dyn Read + Send>,
    n_read: u32,
}

impl std::fmt::Debug for NiftiReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NiftiReader")
            .field("path", &self.path)
            .field("header", &self.header)
            .field("n_read", &self.n_read)
            .finish_non_exhaustive()
    }
}

impl NiftiReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read or is not a usable NIfTI-1 file.
    pub fn open(path: &Path) -> Result<Self, AdapterError> {
        fn open(path: &Path) -> Result<(File, u64), AdapterError> {
            let io = |source| AdapterError::Io { path: path.to_owned(), source };
            let file = files::open(path).map_err(io)?;
            let file_bytes = file.metadata().map_err(io)?.len();
            Ok((file, file_bytes))
        }
        let Some((header_path, voxel_path)) = pair_of(path)? else {
            let (file, file_bytes) = open(path)?;
            return Self::read(file, file_bytes, path);
        };
        let (file, _) = open(&header_path)?;
        let (raw_header, header, _) = header_of(file, &header_path)?;
        if !header.is_pair {
            let reason =
                "the magic is \"n+1\", expected \"ni1\": in a pair the voxels are in the .img";
            return Err(AdapterError::Malformed { path: header_path, reason: reason.to_owned() });
        }
        let (voxels, file_bytes) = open(&voxel_path)?;
        let io = |source| AdapterError::Io { path: voxel_path.clone(), source };
        let input = unpacked(voxels).map_err(io)?;
        Self { path: voxel_path.clone(), header, raw_header, file_bytes, input, n_read: 0 }
            .at_voxels(0)
    }

    /// Reads the header of a file that is open, or in memory. `path` is its name in errors.
    ///
    /// # Errors
    ///
    /// As [`NiftiReader::open`].
    pub fn read(
        file: impl Read + Send + 'static,
        file_bytes: u64,
        path: &Path,
    ) -> Result<Self, AdapterError> {
        let (raw_header, header, input) = header_of(file, path)?;
        if header.is_pair {
            let reason = "the header of a pair: name its .hdr or its .img, which hold one image";
            return Err(AdapterError::Malformed {
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
        let reader =
            Self { path: path.to_owned(), header, raw_header, file_bytes, input, n_read: 0 };
        reader.at_voxels(HEADER_BYTES as u64)
    }

    /// Passes over what lies before the voxels; `n_read` bytes of their file were read.
    fn at_voxels(mut self, n_read: u64) -> Result<Self, AdapterError> {
        let gap = self.header.voxel_offset_bytes.saturating_sub(n_read);
        let skipped = io::copy(&mut (&mut self.input).take(gap), &mut io::sink())
            .map_err(|source| AdapterError::Io { path: self.path.clone(), source })?;
        if skipped < gap {
            let reason = "the file ends before its first voxel".to_owned();
            return Err(AdapterError::Malformed { path: self.path, reason });
        }
        Ok(self)
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &NiftiHeader {
        &self.header
    }

    /// The file that holds the voxels.
    pub(super) fn voxel_path(&self) -> &Path {
        &self.path
    }

    /// The header's bytes and the file's size. Together with the first volume they identify the
    /// file.
    #[must_use]
    pub fn fingerprint(&self) -> (&[u8], u64) {
        (&self.raw_header, self.file_bytes)
    }

    /// The next volume's voxels, x fastest, little-endian, as `header().stored.on_wire()`;
    /// `None` after the last.
    ///
    /// # Errors
    ///
    /// Fails when the file ends inside the volume or cannot be read.
    pub fn next_voxels(&mut self) -> Result<Option<Bytes>, AdapterError> {
        let NiftiHeader { n_volumes, stored, big_endian, .. } = self.header;
        if self.n_read >= n_volumes {
            return Ok(None);
        }
        let wanted = self.header.volume_bytes();
        let mut voxels = Vec::with_capacity(wanted.min(TRUSTED_BYTES));
        let read = (&mut self.input).take(wanted as u64).read_to_end(&mut voxels);
        if voxels.len() < wanted {
            let why = read.err().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(AdapterError::Malformed {
                path: self.path.clone(),
                reason: format!(
                    "the file ends inside volume {}: {} of {} are complete{why}",
                    self.n_read,
                    self.n_read,
                    count(n_volumes.into(), "volume")
                ),
            });
        }
        self.n_read += 1;
        if self.n_read == n_volumes {
            self.check_end()?;
        }
        Ok(Some(on_wire(voxels, stored, big_endian).into()))
    }

    /// Reads what follows the last volume: the checksum of a gzip file is at its end.
    fn check_end(&mut self) -> Result<(), AdapterError> {
        let rest = io::copy(&mut (&mut self.input).take(MAX_REST_BYTES), &mut io::sink());
        match rest {
            Err(error) => Err(AdapterError::Malformed {
                path: self.path.clone(),
                reason: format!(
                    "this file is damaged or was cut: {error} (`gzip -t` tells the same); \
                     volumes before the last one were passed on"
                ),
            }),
            Ok(0) => Ok(()),
            Ok(_) => {
                tracing::warn!(
                    path = %self.path.display(),
                    "the file goes on after the {} of its header: the rest is not read",
                    count(self.header.n_volumes.into(), "volume")
                );
                Ok(())
            }
        }
    }
}

/// The uncompressed bytes of a file.
pub(super) fn unpacked(mut file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::with_capacity(2);
    (&mut file).take(2).read_to_end(&mut start)?;
    let gzipped = start == [0x1f, 0x8b];
    let whole = Cursor::new(start).chain(file);
    // Volumes are read in one piece; a buffer would only copy them.
    Ok(if gzipped { Box::new(Gzip::new(whole)) } else { Box::new(whole) })
}

/// The header of a file, and its bytes after the header.
#[allow(clippy::type_complexity, reason = "three parts of one file, used in two places above")]
fn header_of(
    file: impl Read + Send + 'static,
    path: &Path,
) -> Result<([u8; HEADER_BYTES], NiftiHeader, Box<dyn Read + Send>), AdapterError> {
    let malformed = |reason| AdapterError::Malformed { path: path.to_owned(), reason };
    let mut input =
        unpacked(file).map_err(|source| AdapterError::Io { path: path.to_owned(), source })?;
    let mut raw = [0; HEADER_BYTES];
    input.read_exact(&mut raw).map_err(|error| {
        malformed(format!("cannot read a NIfTI-1 header of {HEADER_BYTES} bytes: {error}"))
    })?;
    let header = NiftiHeader::parse(&raw).map_err(|error| malformed(error.to_string()))?;
    Ok((raw, header, input))
}

/// Converts stored voxels to the wire type. Little-endian voxels of a wire type stay unchanged.
fn on_wire(mut voxels: Vec<u8>, stored: StoredType, big_endian: bool) -> Vec<u8> {
    if big_endian {
        for voxel in voxels.chunks_exact_mut(stored.size_bytes()) {
            voxel.reverse();
        }
    }
    let words = || voxels.as_chunks::<4>().0.iter().copied();
    let long_words = || voxels.as_chunks::<8>().0.iter().copied();
    match stored {
        StoredType::Int16 | StoredType::UInt16 | StoredType::Float32 => voxels,
        StoredType::UInt8 => voxels.iter().flat_map(|&v| i16::from(v).to_le_bytes()).collect(),
        StoredType::Int8 => {
            voxels.iter().flat_map(|&v| i16::from(v.cast_signed()).to_le_bytes()).collect()
        }
        StoredType::Int32 => float32(words().map(|w| f64::from(i32::from_le_bytes(w)))),
        StoredType::UInt32 => float32(words().map(|w| f64::from(u32::from_le_bytes(w)))),
        StoredType::Float64 => float32(long_words().map(f64::from_le_bytes)),
        StoredType::Int64 => float32(long_words().map(|w| i64::from_le_bytes(w) as f64)),
        StoredType::UInt64 => float32(long_words().map(|w| u64::from_le_bytes(w) as f64)),
    }
}

fn float32(values: impl Iterator<Item = f64>) -> Vec<u8> {
    values.flat_map(|value| (value as f32).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_type_becomes_one_of_the_wire() {
        let int16 =
            |values: &[i16]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(on_wire(vec![0, 200], StoredType::UInt8, false), int16(&[0, 200]));
        assert_eq!(on_wire(vec![0, 0xff], StoredType::Int8, false), int16(&[0, -1]));
        assert_eq!(on_wire(vec![1, 2], StoredType::Int16, true), vec![2, 1]);
        let two_halves = 2.5_f64.to_be_bytes().to_vec();
        assert_eq!(on_wire(two_halves, StoredType::Float64, true), 2.5_f32.to_le_bytes());
        let minus_seven = (-7_i32).to_le_bytes().to_vec();
        assert_eq!(on_wire(minus_seven, StoredType::Int32, false), (-7_f32).to_le_bytes());
    }
}
