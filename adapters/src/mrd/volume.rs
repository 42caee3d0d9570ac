//! Images into volumes: slices of one repetition, in the order of their places.
//!
//! The number of slices comes from the XML header, else from the first repetition: its volume is
//! then passed on when the second begins. Slices are ordered by their position along the slice
//! direction, whatever their numbers say. The position is the centre of the image.

use std::{collections::BTreeMap, sync::Arc};

use corticast_bold::decode::{Dtype, Order};

use super::image::{ImageHeader, Pixel};
use crate::network::{Picture, Scan, scan::MAX_VOLUME_BYTES};

/// Magnitude, and the value of senders that say nothing.
const MAGNITUDE: [u16; 2] = [0, 1];
/// Distances of slices may differ by so much, in mm.
const TOLERANCE_MM: f64 = 0.05;

/// What an image gave.
pub(super) enum Taken {
    Volume(Arc<Scan>, Picture),
    Nothing,
}

struct Slice {
    header: ImageHeader,
    pixels: Vec<u8>,
}

/// Collects the slices of one stream.
pub(super) struct Stack {
    echo: u16,
    n_slices: Option<u16>,
    n_volumes: Option<u32>,
    /// The series of the first image; others are copies, for example motion-corrected ones.
    series_index: Option<u16>,
    slices: BTreeMap<u16, Slice>,
    n_bytes: usize,
    repetition: Option<u16>,
    /// Slice, image index and hash of the images of the volume before.
    done: Vec<(u16, u16, blake3::Hash)>,
    /// Volumes that began with the repetition number that the one before had.
    n_repeated: u32,
    named: Vec<&'static str>,
    scan: Option<Arc<Scan>>,
}

impl Stack {
    pub(super) fn new(echo: u16, n_slices: Option<u16>, n_volumes: Option<u32>) -> Self {
        Self {
            echo,
            n_slices,
            n_volumes,
            series_index: None,
            slices: BTreeMap::new(),
            n_bytes: 0,
            repetition: None,
            done: Vec::new(),
            n_repeated: 0,
            named: Vec::new(),
            scan: None,
        }
    }

    /// Adds an image. Returns a volume that it completes, or the one before, which it ends.
    pub(super) fn add(
        &mut self,
        header: &ImageHeader,
        pixels: Vec<u8>,
        series: &str,
        tr: Option<f64>,
    ) -> Result<Taken, String> {
        let first_series = *self.series_index.get_or_insert(header.series_index);
        let left_out = match header.pixel {
            Pixel::Complex64 | Pixel::Complex128 => Some("complex images"),
            _ if !MAGNITUDE.contains(&header.image_type) => Some("images that are not magnitude"),
            _ if header.contrast != self.echo => Some("images of another echo (--echo)"),
            _ if header.series_index != first_series => Some("images of a further series"),
            _ if header.n_channels > 1 => Some("images of several channels"),
            _ => None,
        };
        if let Some(kind) = left_out {
            if !self.named.contains(&kind) {
                self.named.push(kind);
                tracing::info!("{kind} are left out");
            }
            return Ok(Taken::Nothing);
        }
        let image = (header.slice, header.image_index, blake3::hash(&pixels));
        if self.slices.is_empty()
            && self.repetition == Some(header.repetition)
            && self.done.contains(&image)
        {
            tracing::warn!(slice = header.slice, "image dropped: it arrived before");
            return Ok(Taken::Nothing);
        }
        let is_next = self.is_next_volume(header);
        let before = if is_next { self.finish(series, tr) } else { None };
        if let Some(same) = self.slices.get(&header.slice)
            && !is_next
        {
            tracing::warn!(
                slice = header.slice,
                index = same.header.image_index,
                "slice dropped: it arrived before"
            );
            return Ok(Taken::Nothing);
        }
        self.n_bytes += pixels.len();
        if self.n_bytes > MAX_VOLUME_BYTES {
            return Err("found slices of more than 64 MiB in one volume".to_owned());
        }
        self.repetition = Some(header.repetition);
        self.slices.insert(header.slice, Slice { header: header.clone(), pixels });
        let is_whole = header.matrix[2] > 1
            || self.n_slices.is_some_and(|n| self.slices.len() >= usize::from(n));
        let now = if is_whole && before.is_none() { self.finish(series, tr) } else { None };
        Ok(before.or(now).map_or(Taken::Nothing, |(scan, picture)| Taken::Volume(scan, picture)))
    }

    /// Whether an image begins another volume than that of the slices so far.
    fn is_next_volume(&mut self, header: &ImageHeader) -> bool {
        if self.slices.is_empty() {
            // The number of the volume before, again: the sender does not count.
            if self.repetition == Some(header.repetition) {
                self.n_repeated += 1;
            }
            return false;
        }
        if self.repetition != Some(header.repetition) {
            return true;
        }
        let same = self.slices.get(&header.slice).map(|slice| slice.header.image_index);
        let is_next = same.is_some_and(|index| index != header.image_index);
        self.n_repeated += u32::from(is_next);
        is_next
    }

    /// The volume of the slices so far.
    pub(super) fn finish(&mut self, series: &str, tr: Option<f64>) -> Option<(Arc<Scan>, Picture)> {
        let mut slices: Vec<Slice> = std::mem::take(&mut self.slices).into_values().collect();
        self.n_bytes = 0;
        let n_slices =
            *self.n_slices.get_or_insert(u16::try_from(slices.len()).unwrap_or(1).max(1));
        let first = &slices.first()?.header;
        if first.matrix[2] == 1 && slices.len() != usize::from(n_slices) {
            let found = slices.len();
            tracing::warn!("volume dropped: {found} of {n_slices} slices arrived");
            return None;
        }
        let direction = first.slice_dir;
        slices.sort_by(|a, b| {
            let along = |slice: &Slice| dot(slice.header.position_mm, direction);
            along(a).total_cmp(&along(b))
        });
        let index = u32::from(slices[0].header.repetition) + self.n_repeated;
        let scan = match self.scan(&slices, series, tr) {
            Ok(scan) => scan,
            Err(reason) => {
                tracing::warn!(index, reason, "volume dropped");
                return None;
            }
        };
        self.done = slices
            .iter()
            .map(|slice| {
                let hash = blake3::hash(&slice.pixels);
                (slice.header.slice, slice.header.image_index, hash)
            })
            .collect();
        let pixel = slices[0].header.pixel;
        let (dtype, voxels) = voxels(pixel, slices.into_iter().map(|slice| slice.pixels));
        let picture = Picture {
            index,
            acquisition_time_s: None,
            dtype,
            order: Order::F,
            slope: None,
            intercept: None,
            voxels: voxels.into(),
        };
        Some((scan, picture))
    }

    fn scan(
        &mut self,
        slices: &[Slice],
        series: &str,
        tr: Option<f64>,
    ) -> Result<Arc<Scan>, String> {
        let first = &slices[0].header;
        let same = |slice: &Slice| {
            (slice.header.matrix, slice.header.pixel) == (first.matrix, first.pixel)
        };
        if !slices.iter().all(same) {
            return Err("found slices of several sizes, expected one".to_owned());
        }
        let scan = Scan {
            series: series.to_owned(),
            repetition_time_s: tr,
            matrix: [
                first.matrix[0].into(),
                first.matrix[1].into(),
                usize::from(first.matrix[2]) * slices.len(),
            ],
            affine: affine(slices)?,
            n_volumes: self.n_volumes,
            slice_times_s: Vec::new(),
            source: "mrd: images".to_owned(),
        };
        // Most volumes are where the one before was.
        if self.scan.as_deref() != Some(&scan) {
            self.scan = Some(Arc::new(scan));
        }
        Ok(self.scan.clone().expect("set above"))
    }
}

/// Voxel → RAS+ mm, rows, of slices in their order.
fn affine(slices: &[Slice]) -> Result<[[f64; 4]; 4], String> {
    let ImageHeader { matrix, fov_mm, read_dir, phase_dir, slice_dir, position_mm, .. } =
        &slices[0].header;
    let n = matrix.map(f64::from);
    let scaled = |direction: &[f64; 3], axis: usize| direction.map(|v| v * fov_mm[axis] / n[axis]);
    let (x, y) = (scaled(read_dir, 0), scaled(phase_dir, 1));
    let z = if slices.len() > 1 {
        let steps = (slices.len() - 1) as f64;
        let last = slices[slices.len() - 1].header.position_mm;
        let step: [f64; 3] = std::array::from_fn(|at| (last[at] - position_mm[at]) / steps);
        for (number, slice) in slices.iter().enumerate() {
            let is_there = (0..3).all(|at| {
                let expected = position_mm[at] + step[at] * number as f64;
                (slice.header.position_mm[at] - expected).abs() <= TOLERANCE_MM
            });
            if !is_there {
                return Err(format!("found slices {step:.2?} mm apart on average, and not evenly"));
            }
        }
        step
    } else {
        scaled(slice_dir, 2)
    };
    let mut affine = [[0.0; 4]; 4];
    affine[3][3] = 1.0;
    for row in 0..3 {
        let to_corner =
            x[row] * (n[0] - 1.0) / 2.0 + y[row] * (n[1] - 1.0) / 2.0 + z[row] * (n[2] - 1.0) / 2.0;
        // DICOM's axes point to the left, posterior, superior.
        let sign = if row < 2 { -1.0 } else { 1.0 };
        affine[row] = [x[row], y[row], z[row], position_mm[row] - to_corner].map(|v| sign * v);
    }
    Ok(affine)
}

/// Voxels in a type of the wire. Integers of 32 bits become `float32`, which is exact to 16 million.
fn voxels(pixel: Pixel, slices: impl Iterator<Item = Vec<u8>>) -> (Dtype, Vec<u8>) {
    fn to_f32<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<u8> {
        bytes.as_chunks().0.iter().flat_map(|chunk| value(*chunk).to_le_bytes()).collect()
    }
    let bytes: Vec<u8> = slices.flatten().collect();
    match pixel {
        Pixel::U16 => (Dtype::UInt16, bytes),
        Pixel::I16 => (Dtype::Int16, bytes),
        Pixel::F32 => (Dtype::Float32, bytes),
        Pixel::U32 => (Dtype::Float32, to_f32(&bytes, |b| u32::from_le_bytes(b) as f32)),
        Pixel::I32 => (Dtype::Float32, to_f32(&bytes, |b| i32::from_le_bytes(b) as f32)),
        // Complex images are left out before.
        Pixel::F64 | Pixel::Complex64 | Pixel::Complex128 => {
            (Dtype::Float32, to_f32(&bytes, |b| f64::from_le_bytes(b) as f32))
        }
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
