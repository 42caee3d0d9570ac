//! From the pictures of one file to volumes, or to one slice of a volume.
//!
//! Frames of one volume share kind, echo and temporal position. If two of them lie at one place,
//! the second belongs to the next volume. Slices are ordered by place, and each keeps its own
//! scale and time.

use std::collections::HashMap;

use corticast_bold::{decode::Dtype, space::VoxelSpace};

use super::{
    clock::{Moment, elapsed_us},
    error::DicomError,
    geometry::{Plane, SAME_PLACE_MM, stack},
    image::{Content, Frame, Image},
    kind::{ImageType, Kind},
    pixels::scaled,
    scan::{Echo, Numbers, Scale},
};

/// What a file adds to a series.
#[derive(Clone, Debug)]
pub struct Part {
    /// What kind of image it is.
    pub kind: Kind,
    /// Values of its image type.
    pub image_type: ImageType,
    /// Which echo.
    pub echo: Echo,
    /// The numbers that can tell its volume.
    pub numbers: Numbers,
    /// When it was acquired.
    pub time: Option<Moment>,
    /// When its content was made, if the header gives it beside the time of acquisition.
    pub content: Option<Moment>,
    /// Its volume was found by counting images, not by a number of the header.
    pub is_counted: bool,
    /// A volume or a slice.
    pub what: What,
}

/// A volume or a slice.
#[derive(Clone, Debug)]
pub enum What {
    /// A whole volume.
    Volume(Stack),
    /// One slice.
    Slice(Slice),
}

/// A whole volume.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// Start of each slice after the first one, in seconds; empty if it is not known.
    pub slice_times_s: Vec<f64>,
    /// How a voxel is stored.
    pub dtype: Dtype,
    /// Scale of the stored values.
    pub scale: Scale,
    /// Little-endian voxels, x fastest.
    pub voxels: Vec<u8>,
}

/// One slice of a volume.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Where it lies.
    pub plane: Plane,
    /// When it was acquired.
    pub time: Option<Moment>,
    /// Voxels along x and y.
    pub size: [usize; 2],
    /// How a voxel is stored.
    pub dtype: Dtype,
    /// Scale of the stored values.
    pub scale: Scale,
    /// Little-endian voxels, x fastest.
    pub voxels: Vec<u8>,
}

/// The parts of a file, from its uncompressed pixels.
///
/// # Errors
///
/// Fails when the pictures are no volume and no slice of one.
pub fn parts(image: &Image, pixels: &[u8]) -> Result<Vec<Part>, DicomError> {
    match &image.content {
        Content::Tiles { tiling, space, slice_times_s } => {
            let voxels = tiling.unmosaic(pixels, image.format.bytes())?;
            let stack = Stack {
                space: space.clone(),
                slice_times_s: slice_times_s.clone(),
                dtype: image.dtype(),
                scale: image.scan.scale,
                voxels: image.format.voxels(voxels),
            };
            Ok(vec![Part {
                kind: image.kind(),
                image_type: image.scan.image_type.clone(),
                echo: image.scan.echo,
                numbers: image.scan.numbers,
                time: image.scan.time,
                content: image.scan.content,
                is_counted: false,
                what: What::Volume(stack),
            }])
        }
        Content::Frames(frames) if frames.len() == 1 => {
            let frame = &frames[0];
            let what = What::Slice(slice(image, frame, pixels));
            Ok(vec![part(image, frame, frame.time.or(image.scan.time), what)])
        }
        Content::Frames(frames) => volumes(image, frames, pixels),
    }
}

fn part(image: &Image, frame: &Frame, time: Option<Moment>, what: What) -> Part {
    Part {
        kind: frame.kind,
        image_type: frame.image_type.clone(),
        echo: Echo { number: image.scan.echo.number, time_ms: frame.echo_ms },
        numbers: frame.numbers,
        time,
        content: image.scan.content,
        is_counted: false,
        what,
    }
}

fn slice(image: &Image, frame: &Frame, pixels: &[u8]) -> Slice {
    Slice {
        plane: frame.plane,
        time: frame.time,
        size: image.size,
        dtype: image.dtype(),
        scale: frame.scale,
        voxels: image.format.voxels(pixels.to_vec()),
    }
}

/// The volumes of an enhanced file.
fn volumes(image: &Image, frames: &[Frame], pixels: &[u8]) -> Result<Vec<Part>, DicomError> {
    let [columns, rows] = image.size;
    let frame_bytes = columns * rows * image.format.bytes();
    // Which frames make a volume, in order of the volumes' first frames.
    let mut groups: Vec<(u32, Vec<usize>)> = Vec::new();
    let mut known = HashMap::new();
    let mut at_place: HashMap<_, u32> = HashMap::new();
    for (at, frame) in frames.iter().enumerate() {
        let echo = frame.echo_ms.map(|ms| (ms * 100.0).round() as i64);
        let place = (frame.plane.height_mm() / SAME_PLACE_MM).round() as i64;
        let same = (frame.kind, echo, frame.numbers.temporal);
        let before = at_place.entry((same, place)).or_default();
        let group = *known.entry((same, *before)).or_insert(groups.len());
        if group == groups.len() {
            groups.push((*before, Vec::new()));
        }
        *before += 1;
        groups[group].1.push(at);
    }
    let repeats = groups.iter().any(|(before, _)| *before > 0);
    let mut volumes = Vec::new();
    for (before, group) in groups {
        let first = &frames[group[0]];
        let slices = group.iter().map(|&at| {
            let start = at * frame_bytes;
            slice(image, &frames[at], &pixels[start..start + frame_bytes])
        });
        let slices: Vec<Slice> = slices.collect();
        let time = slices.iter().filter_map(|slice| slice.time).min().or(image.scan.time);
        let mut part = part(image, first, time, What::Volume(stacked(&slices)?));
        if repeats {
            part.numbers.temporal = Some(before + 1);
        }
        volumes.push(part);
    }
    // Frames stand in any order.
    volumes.sort_by_key(|part| part.numbers.temporal);
    Ok(volumes)
}

/// The volume of these slices.
///
/// # Errors
///
/// Fails when they are not the slices of one volume.
pub fn stacked(slices: &[Slice]) -> Result<Stack, DicomError> {
    let planes: Vec<Plane> = slices.iter().map(|slice| slice.plane).collect();
    let size = slices.first().map_or([0, 0], |slice| slice.size);
    if slices.iter().any(|slice| slice.size != size) {
        let reason = "differ between the slices of a volume".into();
        return Err(DicomError::Attribute { name: "Rows and Columns", reason });
    }
    let (order, space) = stack(&planes, size)?;
    let first = &slices[0];
    let is_even =
        slices.iter().all(|slice| slice.scale == first.scale && slice.dtype == first.dtype);
    let (dtype, scale) =
        if is_even { (first.dtype, first.scale) } else { (Dtype::Float32, Scale::default()) };
    let mut voxels = Vec::with_capacity(space.n_voxel() * dtype.size_bytes());
    for slice in order.iter().map(|&at| &slices[at]) {
        if is_even {
            voxels.extend_from_slice(&slice.voxels);
        } else {
            let Scale { slope, intercept } = slice.scale;
            let (slope, intercept) = (slope.unwrap_or(1.0), intercept.unwrap_or(0.0));
            voxels.extend(scaled(&slice.voxels, slice.dtype, slope, intercept));
        }
    }
    let slice_times_s = slice_times_s(order.iter().map(|&at| slices[at].time));
    Ok(Stack { space, slice_times_s, dtype, scale, voxels })
}

/// Start of each slice after the first one; empty if one is not known or all are the same.
fn slice_times_s(times: impl Iterator<Item = Option<Moment>>) -> Vec<f64> {
    let Some(times) = times.collect::<Option<Vec<Moment>>>() else { return Vec::new() };
    let Some(&first) = times.iter().min() else { return Vec::new() };
    if times.iter().all(|time| *time == first) {
        return Vec::new();
    }
    times.iter().map(|time| elapsed_us(first.us, time.us) as f64 / 1e6).collect()
}
