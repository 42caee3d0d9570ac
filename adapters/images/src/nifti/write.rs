//! Writes a 4-D NIfTI-1 file, `.nii` or `.nii.gz`, volume by volume.
//!
//! The number of volumes is known only at the end, and a late volume belongs before volumes that
//! were already written. So each volume is written at its own place in an uncompressed temporary
//! file in the folder of the result. [`NiftiWriter::finish`] writes the header, compresses the
//! file if its name ends in `.gz`, and moves it into place. Until then no file has the final name.
//! A volume that never arrived stays zeros.

use std::{
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use corticast_bold::time::TrIndex;
use flate2::{Compression, write::GzEncoder};
use tempfile::NamedTempFile;

use super::{
    format::NiftiFormat,
    header_bytes::{VOXEL_OFFSET, header_bytes},
};

/// A NIfTI-1 dimension is an `int16`.
const MAX_VOLUMES: u32 = 32_767;

/// Why writing a file failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Reading or writing the file failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The size of the volume does not match the format.
    #[error("{tr} holds {found} bytes, expected {expected}")]
    Size {
        /// Index of the volume.
        tr: TrIndex,
        /// Bytes of the volume.
        found: usize,
        /// Bytes expected from matrix and data type.
        expected: usize,
    },
    /// The index of the volume is too large for a NIfTI-1 file.
    #[error("{0} does not fit: a NIfTI-1 file holds at most {MAX_VOLUMES} volumes")]
    TooMany(TrIndex),
    /// The file has no volumes.
    #[error("{0}: no volume was written")]
    Empty(PathBuf),
}

/// A 4-D file that is being written.
#[derive(Debug)]
pub struct NiftiWriter {
    path: PathBuf,
    format: NiftiFormat,
    file: NamedTempFile,
    /// Number of volumes in the file: the highest written index, plus one.
    n_volumes: u32,
}

impl NiftiWriter {
    /// Starts a file. An existing file is replaced when this one is finished.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be written.
    pub fn create(path: &Path, format: NiftiFormat) -> Result<Self, WriteError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".corticast-")
            .suffix(".nii.part")
            .tempfile_in(folder)
            .map_err(|source| WriteError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), format, file, n_volumes: 0 })
    }

    /// The properties that all volumes share.
    #[must_use]
    pub fn format(&self) -> &NiftiFormat {
        &self.format
    }

    /// Number of volumes so far, including gaps.
    #[must_use]
    pub fn n_volumes(&self) -> u32 {
        self.n_volumes
    }

    /// Writes the volume after the last one. Voxels little-endian, x fastest.
    ///
    /// # Errors
    ///
    /// Fails for the same reasons as [`NiftiWriter::write_at`].
    pub fn write(&mut self, voxels: &[u8]) -> Result<(), WriteError> {
        self.write_at(TrIndex(self.n_volumes), voxels)
    }

    /// Writes a volume at its place. Voxels little-endian, x fastest.
    ///
    /// # Errors
    ///
    /// Fails when the size of the volume does not match the format, its index is too large for the
    /// file format, or the disk is full.
    pub fn write_at(&mut self, tr: TrIndex, voxels: &[u8]) -> Result<(), WriteError> {
        let expected = self.volume_bytes();
        if voxels.len() != expected {
            return Err(WriteError::Size { tr, found: voxels.len(), expected });
        }
        if tr.0 >= MAX_VOLUMES {
            return Err(WriteError::TooMany(tr));
        }
        let at = VOXEL_OFFSET + u64::from(tr.0) * expected as u64;
        let file = self.file.as_file_mut();
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(voxels))
            .map_err(|source| WriteError::Io { path: self.path.clone(), source })?;
        self.n_volumes = self.n_volumes.max(tr.0 + 1);
        Ok(())
    }

    /// Reads a volume back; zeros if it was never written.
    ///
    /// # Errors
    ///
    /// Fails when the temporary file cannot be read.
    pub fn read_back(&mut self, tr: TrIndex) -> Result<Vec<u8>, WriteError> {
        let mut voxels = vec![0; self.volume_bytes()];
        let at = VOXEL_OFFSET + u64::from(tr.0) * voxels.len() as u64;
        let file = self.file.as_file_mut();
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut voxels))
            .map_err(|source| WriteError::Io { path: self.path.clone(), source })?;
        Ok(voxels)
    }

    /// Writes the header, compresses, and moves the file into place. Returns the number of
    /// volumes.
    ///
    /// # Errors
    ///
    /// Fails when no volume was written or the disk is full; then no file has the final name.
    pub fn finish(self) -> Result<u32, WriteError> {
        if self.n_volumes == 0 {
            return Err(WriteError::Empty(self.path));
        }
        let header = header_bytes(&self.format, Some(self.n_volumes));
        self.place(&header)
    }

    /// Writes the header and moves the file into place.
    fn place(mut self, header: &[u8]) -> Result<u32, WriteError> {
        let path = self.path.clone();
        let io = |source| WriteError::Io { path: path.clone(), source };
        let file = self.file.as_file_mut();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(header)).map_err(io)?;
        let gzipped = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let finished = if gzipped { compress(&mut self.file).map_err(io)? } else { self.file };
        // Only the owner can read a temporary file; the result gets the usual permissions.
        readable(&finished).map_err(io)?;
        finished.persist(&path).map_err(|error| io(error.error))?;
        Ok(self.n_volumes)
    }

    fn volume_bytes(&self) -> usize {
        self.format.space.n_voxel() * self.format.dtype.size_bytes()
    }
}

/// Writes a 3-D file, such as a mask. Voxels little-endian, x fastest.
///
/// # Errors
///
/// Fails for the same reasons as [`NiftiWriter::write_at`] and [`NiftiWriter::finish`].
pub fn write_3d(path: &Path, format: NiftiFormat, voxels: &[u8]) -> Result<(), WriteError> {
    let header = header_bytes(&format, None);
    let mut writer = NiftiWriter::create(path, format)?;
    writer.write(voxels)?;
    writer.place(&header).map(|_| ())
}

fn compress(plain: &mut NamedTempFile) -> io::Result<NamedTempFile> {
    let folder = plain.path().parent().unwrap_or(Path::new(".")).to_owned();
    let packed =
        tempfile::Builder::new().prefix(".corticast-").suffix(".gz.part").tempfile_in(folder)?;
    plain.as_file_mut().seek(SeekFrom::Start(0))?;
    let mut encoder = GzEncoder::new(BufWriter::new(packed), Compression::fast());
    io::copy(&mut BufReader::with_capacity(1 << 18, plain.as_file_mut()), &mut encoder)?;
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
}

#[cfg(unix)]
fn readable(file: &NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &NamedTempFile) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};

    use super::*;
    use crate::nifti::{header::NiftiHeader, reader::NiftiReader};

    /// 30° about z, left-handed, voxels of 2, 3 and 4 mm.
    fn oblique() -> [[f64; 4]; 4] {
        let (sin, cos) = (0.5, 3_f64.sqrt() / 2.0);
        [
            [-2. * cos, -3. * sin, 0., 10.],
            [-2. * sin, 3. * cos, 0., -20.],
            [0., 0., 4., 30.],
            [0., 0., 0., 1.],
        ]
    }

    fn format(dtype: Dtype) -> NiftiFormat {
        NiftiFormat {
            space: VoxelSpace::new([2, 3, 1], oblique()).unwrap(),
            repetition_time: RepetitionTime::from_secs(0.72).unwrap(),
            dtype,
            slope: Some(2.0),
            intercept: Some(-1.0),
        }
    }

    fn volume(first: i16) -> Vec<u8> {
        (first..first + 6).flat_map(i16::to_le_bytes).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.nii", "a.nii.gz"] {
            let path = folder.path().join(name);
            let mut writer = NiftiWriter::create(&path, format(Dtype::Int16)).unwrap();
            // A late volume goes to its own place; index 1 never arrives.
            writer.write_at(TrIndex(2), &volume(20)).unwrap();
            writer.write_at(TrIndex(0), &volume(0)).unwrap();
            assert_eq!(writer.finish().unwrap(), 3);

            let mut reader = NiftiReader::open(&path).unwrap();
            let header = reader.header().clone();
            assert_eq!(header.repetition_time_s, Some(0.72));
            assert_eq!((header.slope, header.intercept), (Some(2.0), Some(-1.0)));
            header.space.check_is(&format(Dtype::Int16).space).unwrap();
            let volumes: Vec<_> = std::iter::from_fn(|| reader.next_voxels().unwrap()).collect();
            assert_eq!(volumes, [volume(0), vec![0; 12], volume(20)], "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary is left");
    }

    #[test]
    fn the_qform_says_what_the_sform_says() {
        let mut bytes = header_bytes(&format(Dtype::Float32), Some(1));
        bytes[254..256].fill(0);
        let header = NiftiHeader::parse(bytes[..348].try_into().unwrap()).unwrap();
        header.space.check_is(&format(Dtype::Float32).space).unwrap();
    }

    #[test]
    fn a_volume_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        let mut writer = NiftiWriter::create(&path, format(Dtype::Int16)).unwrap();
        let message = writer.write(&[0; 11]).unwrap_err().to_string();
        assert_eq!(message, "volume 0 holds 11 bytes, expected 12");
        assert!(matches!(writer.finish(), Err(WriteError::Empty(_))));
    }
}
