//! Copies: volumes with the same bytes as a recent volume of another index.

use std::collections::VecDeque;

use bytes::Bytes;
use corticast_bold::time::TrIndex;
use corticast_wire::message::VolumeMessage;

/// Number of recent volumes that a new one is compared with.
const COMPARED_VOLUMES: usize = 16;

/// Checksum and bytes of the newest volumes of a run.
#[derive(Default)]
pub(super) struct RecentVolumes(VecDeque<(TrIndex, u32, Bytes)>);

impl RecentVolumes {
    /// The index of a recent volume with the same bytes. If there is none, remembers this volume.
    ///
    /// A volume without contrast (all voxels the same) never counts as a copy: scanners send blank
    /// volumes, and tests send constant ones.
    pub(super) fn copy_of(&mut self, volume: &VolumeMessage) -> Option<TrIndex> {
        let checksum = volume.header.crc32.unwrap_or_else(|| crc32fast::hash(&volume.voxels));
        let bytes = &volume.voxels;
        let same = |(_, sum, old): &&(TrIndex, u32, Bytes)| *sum == checksum && old == bytes;
        if let Some((index, ..)) = self.0.iter().find(same) {
            let width = volume.header.dtype.size_bytes();
            let constant = bytes.chunks_exact(width).all(|voxel| voxel == &bytes[..width]);
            return (!constant).then_some(*index);
        }
        if self.0.len() == COMPARED_VOLUMES {
            self.0.pop_front();
        }
        self.0.push_back((volume.header.index, checksum, bytes.clone()));
        None
    }

    /// Forgets all volumes: the run is over.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
