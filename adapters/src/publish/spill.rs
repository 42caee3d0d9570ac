//! Volumes that wait on disk for a daemon that does not answer: first in, first out.
//!
//! The file has no name, so nothing is left behind when the adapter is killed. Its size is
//! limited: a volume that does not fit is lost, and [`Spill::push`] returns an error. A record is
//! `[length of header, u32][length of voxels, u32][header][voxels]`, little-endian.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use bytes::Bytes;
use corticast_wire::message::{Encoding, VolumeHeader, VolumeMessage, decode, encode};

/// Bytes in front of a record.
const PREFIX_BYTES: u64 = 8;

/// Why appending a volume or reading it back failed.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// The volume would make the file larger than its limit.
    #[error(
        "the file of waiting volumes is full: it holds {held_bytes} of {max_bytes} bytes, \
         the volume needs {needed_bytes}"
    )]
    Full {
        /// Bytes of the record.
        needed_bytes: u64,
        /// Bytes of the file.
        held_bytes: u64,
        /// Limit for the file, in bytes.
        max_bytes: u64,
    },
    /// Reading or writing the file failed.
    #[error("cannot read or write the file of waiting volumes: {0}")]
    Io(#[from] io::Error),
    /// A record differs from the record that was written.
    #[error("the file of waiting volumes is damaged: {0}")]
    Damaged(String),
}

/// A queue of volumes on disk.
#[derive(Debug)]
pub struct Spill {
    /// Created with the first volume.
    file: Option<File>,
    max_bytes: u64,
    read_at: u64,
    write_at: u64,
    len: u32,
}

impl Spill {
    /// An empty queue that uses at most `max_bytes` in the folder for temporary files.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { file: None, max_bytes, read_at: 0, write_at: 0, len: 0 }
    }

    /// Number of waiting volumes.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no volume waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a volume.
    ///
    /// # Errors
    ///
    /// Fails when the volume does not fit or the disk fails; the volumes before it stay.
    pub fn push(&mut self, volume: &VolumeMessage) -> Result<(), SpillError> {
        let header = encode(&volume.header, Encoding::MessagePack);
        let too_long = |_| SpillError::Damaged("a volume of more than 4 GiB".to_owned());
        let header_bytes = u32::try_from(header.len()).map_err(too_long)?;
        let voxel_bytes = u32::try_from(volume.voxels.len()).map_err(too_long)?;
        let needed_bytes = PREFIX_BYTES + u64::from(header_bytes) + u64::from(voxel_bytes);
        if self.write_at + needed_bytes > self.max_bytes {
            return Err(SpillError::Full {
                needed_bytes,
                held_bytes: self.write_at,
                max_bytes: self.max_bytes,
            });
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        file.seek(SeekFrom::Start(self.write_at))?;
        file.write_all(&header_bytes.to_le_bytes())?;
        file.write_all(&voxel_bytes.to_le_bytes())?;
        file.write_all(&header)?;
        file.write_all(&volume.voxels)?;
        // Counted last, so that a record cut short by a full disk is overwritten.
        self.write_at += needed_bytes;
        self.len += 1;
        Ok(())
    }

    /// Removes and returns the volume that has waited longest.
    ///
    /// # Errors
    ///
    /// Fails when the disk fails; the queue is then emptied and its volumes are lost.
    pub fn pop(&mut self) -> Result<Option<VolumeMessage>, SpillError> {
        let (Some(file), false) = (&mut self.file, self.len == 0) else {
            return Ok(None);
        };
        let popped = read_record(file, self.read_at);
        match popped {
            Ok((volume, record_bytes)) => {
                self.read_at += record_bytes;
                self.len -= 1;
                if self.len == 0 {
                    self.clear()?;
                }
                Ok(Some(volume))
            }
            Err(error) => {
                self.clear()?;
                Err(error)
            }
        }
    }

    /// Frees the disk space.
    fn clear(&mut self) -> io::Result<()> {
        (self.read_at, self.write_at, self.len) = (0, 0, 0);
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(0))
    }
}

fn read_record(file: &mut File, at: u64) -> Result<(VolumeMessage, u64), SpillError> {
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut length)?;
    let header_bytes = u32::from_le_bytes(length);
    file.read_exact(&mut length)?;
    let voxel_bytes = u32::from_le_bytes(length);
    let mut read = |wanted: u32| {
        let mut bytes = Vec::new();
        match (&mut *file).take(wanted.into()).read_to_end(&mut bytes) {
            Ok(found) if found == wanted as usize => Ok(Bytes::from(bytes)),
            Ok(found) => Err(SpillError::Damaged(format!("read {found} bytes, expected {wanted}"))),
            Err(error) => Err(error.into()),
        }
    };
    let header: VolumeHeader = decode("vol", &read(header_bytes)?, Encoding::MessagePack)
        .map_err(|error| SpillError::Damaged(error.to_string()))?;
    let volume = VolumeMessage { header, voxels: read(voxel_bytes)? };
    Ok((volume, PREFIX_BYTES + u64::from(header_bytes) + u64::from(voxel_bytes)))
}

#[cfg(test)]
mod tests {
    use corticast_bold::{
        decode::{Dtype, Order},
        time::TrIndex,
    };

    use super::*;

    fn volume(index: u32) -> VolumeMessage {
        let header = VolumeHeader {
            run: "sub-01".into(),
            index: TrIndex(index),
            acquisition_time_s: Some(1.5),
            dtype: Dtype::Int16,
            shape: None,
            order: Order::F,
            crc32: Some(7),
            slope: None,
            intercept: None,
            scanner_wall_time: None,
        };
        VolumeMessage { header, voxels: vec![index as u8; 100].into() }
    }

    #[test]
    fn volumes_come_back_whole_and_in_order_while_others_go_in() {
        let mut spill = Spill::new(1 << 20);
        spill.push(&volume(0)).unwrap();
        spill.push(&volume(1)).unwrap();
        assert_eq!(spill.pop().unwrap(), Some(volume(0)));
        spill.push(&volume(2)).unwrap();
        assert_eq!(spill.pop().unwrap(), Some(volume(1)));
        assert_eq!(spill.pop().unwrap(), Some(volume(2)));
        assert_eq!((spill.pop().unwrap(), spill.len()), (None, 0));
    }

    #[test]
    fn a_full_queue_refuses_and_keeps_what_it_has() {
        let mut spill = Spill::new(500);
        let kept = (0..10).take_while(|&index| spill.push(&volume(index)).is_ok()).count();
        assert!((1..5).contains(&kept));
        assert!(matches!(spill.push(&volume(9)), Err(SpillError::Full { .. })));
        assert_eq!(spill.pop().unwrap(), Some(volume(0)));
        while spill.pop().unwrap().is_some() {}
        // An emptied queue can use its whole limit again.
        spill.push(&volume(9)).unwrap();
    }
}
