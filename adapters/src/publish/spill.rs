//! Volumes that wait on disk for a daemon that does not answer: first in, first out.
//!
//! The volumes are in up to 66 files, each removed once all its volumes were taken. So the limit
//! applies to what the queue *holds*, however much has passed through it. The files of a full
//! queue can be one part in 64 larger than the limit, because the oldest file still contains
//! volumes that were taken.
//!
//! A volume that does not fit is lost, and [`Spill::push`] returns an error. The files have no
//! names, so nothing is left behind when the adapter ends or is killed: volumes that wait on disk
//! do not outlive the adapter. A record is `[length of header, u32][length of voxels,
//! u32][header][voxels]`, little-endian.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;
use corticast_wire::{
    message::{Encoding, VolumeHeader, VolumeMessage, decode, encode},
    text::count,
};

/// Bytes in front of a record.
const PREFIX_BYTES: u64 = 8;
/// A file that has reached this part of the limit gets no further volume.
const PART: u64 = 64;

/// Why appending a volume or reading it back failed.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// The volume does not fit beside the volumes that wait.
    #[error(
        "the disk space for waiting volumes is full: {} in {held_bytes} of {max_bytes} bytes, and \
         this volume needs {needed_bytes} more; --spill-max-gb sets the limit",
        count((*held_volumes).into(), "volume")
    )]
    Full {
        /// Bytes of the record.
        needed_bytes: u64,
        /// Bytes of the volumes that wait.
        held_bytes: u64,
        /// Number of volumes that wait.
        held_volumes: u32,
        /// Limit for the volumes that wait, in bytes.
        max_bytes: u64,
    },
    /// Reading or writing a file failed.
    #[error("cannot read or write a file of waiting volumes: {0}")]
    Io(#[from] io::Error),
    /// A record differs from the record that was written.
    #[error("a file of waiting volumes is damaged: {0}")]
    Damaged(String),
}

/// A part of the queue: one file.
#[derive(Debug)]
struct Part {
    file: File,
    /// Offset of the oldest volume, in bytes.
    read_at: u64,
    /// Offset of the next volume, in bytes.
    write_at: u64,
    /// Number of waiting volumes.
    len: u32,
}

/// A queue of volumes on disk.
#[derive(Debug)]
pub struct Spill {
    /// Oldest first. Only the newest is written.
    parts: VecDeque<Part>,
    max_bytes: u64,
}

impl Spill {
    /// An empty queue that holds at most `max_bytes`, in the folder for temporary files.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { parts: VecDeque::new(), max_bytes }
    }

    /// Number of waiting volumes.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// Whether no volume waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of the waiting volumes, with their headers.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.write_at - part.read_at).sum()
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
        let (held_bytes, max_bytes) = (self.held_bytes(), self.max_bytes);
        if held_bytes + needed_bytes > max_bytes {
            let held_volumes = self.len();
            return Err(SpillError::Full { needed_bytes, held_bytes, held_volumes, max_bytes });
        }
        let front = [header_bytes.to_le_bytes(), voxel_bytes.to_le_bytes()].concat();
        let record = [front.as_slice(), &header, &volume.voxels];
        match self.parts.back_mut().filter(|part| part.write_at < max_bytes / PART) {
            Some(part) => part.append(record),
            None => {
                let file = tempfile::tempfile()?;
                let mut part = Part { file, read_at: 0, write_at: 0, len: 0 };
                part.append(record)?;
                self.parts.push_back(part);
                Ok(())
            }
        }
    }

    /// Removes and returns the volume that has waited longest.
    ///
    /// # Errors
    ///
    /// Fails when the disk fails. The volumes in the same file are then lost, and
    /// [`Spill::len`] no longer counts them.
    pub fn pop(&mut self) -> Result<Option<VolumeMessage>, SpillError> {
        let Some(oldest) = self.parts.front_mut() else { return Ok(None) };
        let taken = oldest.take();
        if taken.is_err() || oldest.len == 0 {
            // Closing a file without a name frees its disk space.
            self.parts.pop_front();
        }
        taken.map(Some)
    }
}

impl Part {
    fn append(&mut self, record: [&[u8]; 3]) -> Result<(), SpillError> {
        let mut at = self.write_at;
        for bytes in record {
            self.file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        // Counted last, so that a record cut short by a full disk is overwritten.
        self.write_at = at;
        self.len += 1;
        Ok(())
    }

    fn take(&mut self) -> Result<VolumeMessage, SpillError> {
        let word = |at: u64| {
            let mut length = [0; 4];
            self.file.read_exact_at(&mut length, at).map(|()| u32::from_le_bytes(length))
        };
        let (header_bytes, voxel_bytes) = (word(self.read_at)?, word(self.read_at + 4)?);
        let record_bytes = PREFIX_BYTES + u64::from(header_bytes) + u64::from(voxel_bytes);
        let written = self.write_at - self.read_at;
        if record_bytes > written {
            let found = format!("a volume of {record_bytes} bytes, expected at most {written}");
            return Err(SpillError::Damaged(found));
        }
        let read = |at: u64, length: u32| {
            let mut bytes = vec![0; length as usize];
            self.file.read_exact_at(&mut bytes, at).map(|()| Bytes::from(bytes))
        };
        let header_at = self.read_at + PREFIX_BYTES;
        let header: VolumeHeader =
            decode("vol", &read(header_at, header_bytes)?, Encoding::MessagePack)
                .map_err(|error| SpillError::Damaged(error.to_string()))?;
        let voxels = read(header_at + u64::from(header_bytes), voxel_bytes)?;
        self.read_at += record_bytes;
        self.len -= 1;
        Ok(VolumeMessage { header, voxels })
    }
}

#[cfg(test)]
mod tests {
    use corticast_bold::{
        decode::{Dtype, Order},
        time::TrIndex,
    };
    use proptest::prelude::*;

    use super::*;

    fn volume(index: u32, n_byte: usize) -> VolumeMessage {
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
        VolumeMessage { header, voxels: vec![index as u8; n_byte].into() }
    }

    fn record_bytes(volume: &VolumeMessage) -> u64 {
        let header = encode(&volume.header, Encoding::MessagePack);
        PREFIX_BYTES + (header.len() + volume.voxels.len()) as u64
    }

    #[test]
    fn a_full_queue_refuses_keeps_what_it_has_and_says_how_much_that_is() {
        let needed = record_bytes(&volume(0, 100));
        let mut spill = Spill::new(2 * needed + 1);
        spill.push(&volume(0, 100)).unwrap();
        spill.push(&volume(1, 100)).unwrap();
        let error = spill.push(&volume(2, 100)).unwrap_err().to_string();
        let held = format!("2 volumes in {} of {} bytes", 2 * needed, 2 * needed + 1);
        assert!(error.contains(&held), "{error}");
        assert_eq!(spill.pop().unwrap(), Some(volume(0, 100)));
        spill.push(&volume(2, 100)).unwrap();
    }

    #[test]
    fn a_damaged_file_costs_its_own_volumes_only() {
        let mut spill = Spill::new(64 * 150);
        for index in 0..4 {
            spill.push(&volume(index, 100)).unwrap();
        }
        let oldest = spill.parts.front().unwrap();
        let (lost, kept) = (oldest.len, spill.len() - oldest.len);
        oldest.file.write_all_at(&[0xFF; 8], 0).unwrap();
        assert!(matches!(spill.pop(), Err(SpillError::Damaged(_))));
        assert_eq!(spill.len(), kept);
        assert_eq!(spill.pop().unwrap(), Some(volume(lost, 100)));
    }

    proptest! {
        /// Against a queue in memory: the same volumes in the same order, and a volume is refused
        /// exactly when the volumes that wait leave no room for it.
        #[test]
        fn the_queue_is_bounded_by_what_it_holds(
            max_bytes in 300..6000_u64,
            // A size to push a volume, or nothing to take one.
            steps in proptest::collection::vec(proptest::option::of(0..400_usize), 1..400),
        ) {
            let mut spill = Spill::new(max_bytes);
            let mut model: VecDeque<VolumeMessage> = VecDeque::new();
            for (index, step) in steps.into_iter().enumerate() {
                let held: u64 = model.iter().map(record_bytes).sum();
                match step {
                    Some(n_byte) => {
                        let volume = volume(index as u32, n_byte);
                        let fits = held + record_bytes(&volume) <= max_bytes;
                        prop_assert_eq!(spill.push(&volume).is_ok(), fits);
                        if fits {
                            model.push_back(volume);
                        }
                    }
                    None => prop_assert_eq!(spill.pop().unwrap(), model.pop_front()),
                }
                prop_assert_eq!(spill.len() as usize, model.len());
                prop_assert_eq!(spill.is_empty(), model.is_empty());
                prop_assert_eq!(spill.held_bytes(), model.iter().map(record_bytes).sum::<u64>());
                let on_disk: u64 = spill.parts.iter().map(|part| part.write_at).sum();
                prop_assert!(on_disk <= max_bytes + max_bytes / PART + 500, "{}", on_disk);
                prop_assert!(spill.parts.len() <= PART as usize + 2);
            }
        }
    }
}
