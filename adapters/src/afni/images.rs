//! Images into volumes: slices into their places, one channel of several, little-endian voxels.

use corticast_bold::decode::Dtype;

use super::commands::{Commands, Datum, SliceOrder};
use crate::network::scan::MAX_VOLUME_BYTES;

/// An image that begins with these bytes ends the run.
const MARKER: &[u8] = b"Et Earello Endorenna utulien!!";

/// Whether an image is the end of the run.
pub(super) fn is_marker(image: &[u8]) -> bool {
    image.starts_with(MARKER)
}

/// Collects the images of a run.
#[derive(Debug)]
pub(super) struct Images {
    n_bytes: usize,
    datum: Datum,
    big_endian: bool,
    /// Place of each slice in the order of sending; one place for a whole volume.
    places: Vec<usize>,
    n_channels: usize,
    /// From 0.
    channel: usize,
    /// Images of the volume that were sent, of all channels.
    n_sent: usize,
    /// Slices so far, in the order of the volume.
    volume: Vec<u8>,
}

impl Images {
    /// `channel` counts from 1.
    pub(super) fn new(commands: &Commands, channel: u32) -> Result<Self, String> {
        let [nx, ny, nz] = commands.matrix;
        let n_voxel_bytes = match commands.datum {
            Datum::Byte => 1,
            Datum::Short => 2,
            Datum::Float => 4,
        };
        let n_slice_bytes = nx * ny * n_voxel_bytes;
        if n_slice_bytes * nz > MAX_VOLUME_BYTES {
            return Err(format!(
                "found volumes of {} MiB, expected at most {} MiB",
                (n_slice_bytes * nz) >> 20,
                MAX_VOLUME_BYTES >> 20
            ));
        }
        if channel > commands.n_channels {
            return Err(format!(
                "found {} channels, expected channel {channel} (--channel) among them",
                commands.n_channels
            ));
        }
        if commands.n_channels > 1 {
            tracing::info!("taking channel {channel} of {}", commands.n_channels);
        }
        let is_2d = commands.acquisition.is_2d();
        let places = match &commands.order {
            _ if !is_2d => vec![0],
            SliceOrder::Sequential => (0..nz).collect(),
            SliceOrder::Alternating => (0..nz).step_by(2).chain((1..nz).step_by(2)).collect(),
            SliceOrder::Explicit(order) => order.clone(),
        };
        Ok(Self {
            n_bytes: if is_2d { n_slice_bytes } else { n_slice_bytes * nz },
            datum: commands.datum,
            big_endian: commands.big_endian,
            places,
            n_channels: commands.n_channels as usize,
            channel: channel as usize - 1,
            n_sent: 0,
            volume: Vec::new(),
        })
    }

    /// Bytes of one image.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Whether some of the images of a volume have arrived.
    pub(super) fn is_within_volume(&self) -> bool {
        self.n_sent > 0
    }

    /// Data type of the finished volumes.
    pub(super) fn dtype(&self) -> Dtype {
        match self.datum {
            Datum::Byte | Datum::Short => Dtype::Int16,
            Datum::Float => Dtype::Float32,
        }
    }

    /// Adds an image. Returns the voxels of the volume that it completes, x fastest.
    pub(super) fn add(&mut self, image: Vec<u8>) -> Option<Vec<u8>> {
        let (slice, channel) = (self.n_sent / self.n_channels, self.n_sent % self.n_channels);
        let n_places = self.places.len();
        if channel == self.channel {
            if n_places == 1 {
                self.volume = image;
            } else {
                self.volume.resize(self.n_bytes * n_places, 0);
                let at = self.places[slice] * self.n_bytes;
                self.volume[at..at + self.n_bytes].copy_from_slice(&image);
            }
        }
        self.n_sent += 1;
        if self.n_sent < n_places * self.n_channels {
            // With one image a volume, it is complete with its own channel; the rest is passed over.
            let complete = n_places == 1 && channel == self.channel;
            return complete.then(|| self.finished());
        }
        self.n_sent = 0;
        (n_places > 1 || channel == self.channel).then(|| self.finished())
    }

    fn finished(&mut self) -> Vec<u8> {
        let mut voxels = std::mem::take(&mut self.volume);
        match self.datum {
            Datum::Byte => voxels.iter().flat_map(|&byte| [byte, 0]).collect(),
            Datum::Short | Datum::Float => {
                let size = if self.datum == Datum::Short { 2 } else { 4 };
                if self.big_endian {
                    voxels.chunks_exact_mut(size).for_each(<[u8]>::reverse);
                }
                voxels
            }
        }
    }
}
