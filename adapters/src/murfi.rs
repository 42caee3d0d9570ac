//! MURFI's `vsend`: one connection per volume, a header of 616 bytes, then 16-bit voxels.
//!
//! The header is little-endian, whatever it says about the voxels, and has the padding that a C++
//! compiler gives it. Before it some senders send two lengths. A new series UID is a new run; it is
//! hashed, and its text is not kept. Pixels are signed 16 bits whatever the header's `dataType` says.
//!
//! Sources: MURFI `RtExternalSenderImageInfo.h`, `RtInputScannerImages.cpp`, `servenii4d.cpp`.

use std::sync::Arc;

use corticast_bold::decode::{Dtype, Order};
use corticast_images::error::AdapterError;

use crate::network::{
    ListenOptions, NetworkAdapter, Picture, RunOptions, Scan,
    scan::MAX_VOLUME_BYTES,
    stream::{Stream, StreamError},
    tcp::{Message, Protocol, TcpSource},
};

const PORT: u16 = 15_000;
/// Bytes of the header, with its padding.
const HEADER_BYTES: usize = 616;
/// Two lengths that may come before the header.
const LENGTHS_BYTES: usize = 8;
/// Most slices of a volume.
const MAX_SLICES: i32 = 1024;

/// Port, and which volumes are taken.
#[derive(Clone, Debug, clap::Args)]
pub struct MurfiOptions {
    /// How runs are named, and when a run ends.
    #[command(flatten)]
    pub run: RunOptions,
    /// Where to listen, and for whom.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Port that receives the volumes
    #[arg(long, value_name = "PORT", default_value_t = PORT)]
    pub port: u16,
    /// Take the scanner's motion-corrected volumes, and leave out the others
    #[arg(long)]
    pub moco: bool,
    /// The sender's matrix leads to DICOM's axes (left, posterior, superior), not to MURFI's
    #[arg(long)]
    pub lps: bool,
}

/// Listens for senders of MURFI's protocol.
///
/// # Errors
///
/// Fails when the port is in use or a label is invalid.
pub fn open(options: MurfiOptions) -> Result<NetworkAdapter, AdapterError> {
    let MurfiOptions { run, listen, port, moco, lps } = options;
    let protocol = Murfi { moco, lps, has_named_moco: false };
    let source = TcpSource::bind(protocol, listen, port)
        .map_err(|source| AdapterError::Io { path: "MURFI's port".into(), source })?;
    NetworkAdapter::new(Box::new(source), run)
}

/// Reads a header as the adapter does. Returns the matrix and the bytes of voxels that follow.
///
/// # Errors
///
/// Fails when the adapter would refuse the volume. The text says why.
pub fn read_header(bytes: &[u8]) -> Result<([usize; 3], usize), String> {
    let header = Header::parse(bytes)?;
    Ok((header.matrix, header.n_bytes()))
}

/// The values of a header that are used.
#[derive(Clone, Debug)]
struct Header {
    series: String,
    matrix: [usize; 3],
    is_little_endian: bool,
    is_mosaic: bool,
    affine: [[f64; 4]; 4],
    /// In mm; the last one is the distance of the slices.
    voxel_mm: [f64; 3],
    repetition_time_s: Option<f64>,
    /// From 0.
    index: u32,
    n_volumes: Option<u32>,
    is_moco: bool,
}

/// Fields by their offset.
struct Fields<'a>(&'a [u8; HEADER_BYTES]);

impl Fields<'_> {
    fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[offset + n])
    }

    fn i32(&self, offset: usize) -> i32 {
        i32::from_le_bytes(self.at(offset))
    }

    fn f32(&self, offset: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.at(offset)))
    }

    fn f64(&self, offset: usize) -> f64 {
        f64::from_le_bytes(self.at(offset))
    }

    /// Text up to its NUL.
    fn text(&self, offset: usize, length: usize) -> &[u8] {
        let text = &self.0[offset..offset + length];
        text.split(|&byte| byte == 0).next().unwrap_or(text)
    }
}

/// Whether these bytes begin a header.
fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ERTI") || bytes.starts_with(b"SIMU")
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Ok(bytes) = <&[u8; HEADER_BYTES]>::try_from(bytes) else {
            return Err(format!(
                "found a header of {} bytes, expected {HEADER_BYTES}",
                bytes.len()
            ));
        };
        let fields = Fields(bytes);
        if !is_magic(bytes) {
            return Err("found no ERTI or SIMU at the start of the header".to_owned());
        }
        if fields.i32(8) != 4 {
            return Err(format!("found version {} of the header, expected 4", fields.i32(8)));
        }
        let sizes = [464, 468, 472].map(|offset| fields.i32(offset));
        if !sizes.iter().all(|n| (1..=MAX_SLICES).contains(n)) {
            return Err(format!("found a matrix of {sizes:?}, expected 1 to 1024 each"));
        }
        let index = fields.i32(548);
        let index = u32::try_from(index)
            .ok()
            .and_then(|index| index.checked_sub(1))
            .ok_or_else(|| format!("found volume number {index}, expected 1 or more"))?;
        let tr_ms = fields.i32(540);
        let affine = std::array::from_fn(|row| {
            std::array::from_fn(|column| fields.f32(476 + 16 * row + 4 * column))
        });
        let header = Self {
            series: blake3::hash(fields.text(12, 64)).to_hex().to_string(),
            matrix: sizes.map(|n| n as usize),
            is_little_endian: bytes[428] != 0,
            is_mosaic: bytes[429] != 0,
            affine,
            voxel_mm: [fields.f64(432), fields.f64(440), fields.f64(448) + fields.f64(456)],
            repetition_time_s: (tr_ms > 0).then(|| f64::from(tr_ms) / 1e3),
            index,
            n_volumes: u32::try_from(fields.i32(552)).ok().filter(|n| *n > 0),
            is_moco: bytes[556] != 0,
        };
        if header.n_bytes() > MAX_VOLUME_BYTES {
            return Err(format!(
                "found a volume of {} MiB, expected at most {} MiB",
                header.n_bytes() >> 20,
                MAX_VOLUME_BYTES >> 20
            ));
        }
        Ok(header)
    }

    /// Tiles along each edge of the mosaic; 1 without one.
    fn n_tiles(&self) -> usize {
        match self.is_mosaic {
            true => (1..).find(|n| n * n >= self.matrix[2]).unwrap_or(1),
            false => 1,
        }
    }

    /// Bytes of voxels that follow.
    fn n_bytes(&self) -> usize {
        let [x, y, z] = self.matrix;
        2 * x * y * if self.is_mosaic { self.n_tiles().pow(2) } else { z }
    }

    /// Voxels x fastest, little-endian.
    fn voxels(&self, mut stored: Vec<u8>) -> Vec<u8> {
        if !self.is_little_endian {
            stored.chunks_exact_mut(2).for_each(<[u8]>::reverse);
        }
        if !self.is_mosaic {
            return stored;
        }
        let [x, y, z] = self.matrix;
        let n_tiles = self.n_tiles();
        let mut voxels = Vec::with_capacity(2 * x * y * z);
        for slice in 0..z {
            let (row, column) = (slice / n_tiles, slice % n_tiles);
            for line in 0..y {
                let at = 2 * (((row * y + line) * n_tiles + column) * x);
                voxels.extend_from_slice(&stored[at..at + 2 * x]);
            }
        }
        voxels
    }

    /// Voxel → RAS+ mm. A sender without a matrix has its scan centred.
    fn placed(&self, lps: bool) -> [[f64; 4]; 4] {
        let mut affine = self.affine;
        affine[3] = [0.0, 0.0, 0.0, 1.0];
        let is_empty = (0..3).all(|row| (0..3).all(|column| affine[row][column].abs() < 1e-6));
        if is_empty {
            for (axis, row) in affine.iter_mut().take(3).enumerate() {
                *row = [0.0; 4];
                row[axis] = self.voxel_mm[axis];
                row[3] = -self.voxel_mm[axis] * (self.matrix[axis] - 1) as f64 / 2.0;
            }
        } else if lps {
            affine[..2].iter_mut().flatten().for_each(|value| *value = -*value);
        }
        affine
    }
}

/// The protocol of one volume.
struct Murfi {
    moco: bool,
    lps: bool,
    has_named_moco: bool,
}

impl Protocol for Murfi {
    const NAME: &'static str = "murfi";
    const RUN_IS_CONNECTION: bool = false;

    fn connected(&mut self, _: &Stream) -> Result<(), StreamError> {
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream) -> Result<Message, StreamError> {
        let mut start = stream.take(LENGTHS_BYTES, "the header")?;
        if !is_magic(&start) {
            let length = i32::from_le_bytes([start[0], start[1], start[2], start[3]]);
            if length != HEADER_BYTES as i32 {
                return Err(StreamError::Invalid(format!(
                    "found a header of {length} bytes, expected one of {HEADER_BYTES} or ERTI"
                )));
            }
            start.clear();
        }
        let rest = stream.take(HEADER_BYTES - start.len(), "the header")?;
        start.extend(rest);
        let header = Header::parse(&start).map_err(StreamError::Invalid)?;
        let stored = stream.take(header.n_bytes(), "a volume")?;
        if header.is_moco != self.moco {
            if !std::mem::replace(&mut self.has_named_moco, true) {
                let kind = if header.is_moco { "motion-corrected" } else { "uncorrected" };
                tracing::info!("{kind} volumes are left out; --moco chooses");
            }
            return Ok(Message::Nothing);
        }
        let scan = Scan {
            series: format!("murfi {}", header.series),
            repetition_time_s: header.repetition_time_s,
            matrix: header.matrix,
            affine: header.placed(self.lps),
            n_volumes: header.n_volumes,
            slice_times_s: Vec::new(),
            source: "murfi: vsend".to_owned(),
        };
        let picture = Picture {
            index: header.index,
            acquisition_time_s: None,
            dtype: Dtype::Int16,
            order: Order::F,
            slope: None,
            intercept: None,
            voxels: header.voxels(stored).into(),
        };
        Ok(Message::Volume(Arc::new(scan), picture))
    }
}

#[cfg(test)]
pub(crate) mod tests;
