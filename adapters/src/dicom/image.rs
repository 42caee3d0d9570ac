//! One Siemens mosaic: the checked values of its header, without anything that identifies the
//! patient.
//!
//! Only the attributes in `tags` are read. Texts are compared or hashed, and only numbers are kept,
//! so no later step has a patient's name that it could print.

use corticast_bold::{
    decode::Dtype,
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};

use super::{
    attributes::{Attributes, attribute, missing},
    clock::{time_of_day_us, wall_time},
    csa::CsaImageHeader,
    elements::text,
    error::DicomError,
    hash::short_hash,
    mosaic::{Placement, Tiling, VOXEL_BYTES, cross},
    tags::{
        ACQUISITION_DATE, ACQUISITION_NUMBER, ACQUISITION_TIME, BITS_ALLOCATED, COLUMNS,
        CONTENT_TIME, IMAGE_ORIENTATION, IMAGE_POSITION, IMAGE_TYPE, INSTANCE_NUMBER, N_FRAMES,
        N_IMAGES_IN_MOSAIC, N_TEMPORAL_POSITIONS, PIXEL_DATA, PIXEL_REPRESENTATION, PIXEL_SPACING,
        REPETITION_TIME, RESCALE_INTERCEPT, RESCALE_SLOPE, ROWS, SAMPLES_PER_PIXEL,
        SERIES_INSTANCE_UID, SERIES_NUMBER, SLICE_THICKNESS, SOP_CLASS_UID, SOP_INSTANCE_UID,
        SPACING_BETWEEN_SLICES,
    },
};

/// Largest accepted acquisition number; a larger one means a damaged header.
const MAX_ACQUISITION_NUMBER: i64 = 1_000_000;
/// Enhanced MR Image Storage, and Legacy Converted Enhanced MR Image Storage.
const ENHANCED: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"];

/// The header values of one mosaic that a run needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// First 16 hex digits of the BLAKE3 hash of SeriesInstanceUID.
    pub series_id: String,
    /// Number of the series within its study.
    pub series_number: Option<u32>,
    /// Hash of SOPInstanceUID, which is the same in every copy of an image.
    pub instance: u64,
    /// Position in the series: AcquisitionNumber, which starts at 1, less 1.
    pub index: TrIndex,
    /// Day and time of day of acquisition, for sorting.
    pub order: (u32, i64),
    /// Time of day of acquisition, in microseconds.
    pub time_of_day_us: Option<i64>,
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// Number of volumes in the series, if the header gives it.
    pub n_volumes: Option<u32>,
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// Arrangement of the slices in the picture.
    pub tiling: Tiling,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// `signal = slope · stored + intercept`.
    pub slope: Option<f64>,
    /// See `slope`.
    pub intercept: Option<f64>,
    /// Start of each slice after the start of the volume, in seconds; empty if the header gives
    /// none.
    pub slice_times_s: Vec<f64>,
}

impl Image {
    /// Parses a whole file. The second value is the picture, for [`Tiling::unmosaic`].
    ///
    /// # Errors
    ///
    /// Fails when the file is not a valid mosaic. [`DicomError::is_incomplete`] tells whether the
    /// file may still become one.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), DicomError> {
        let attributes = Attributes::read(bytes)?;
        Ok((Self::of(&attributes)?, attributes.required(PIXEL_DATA, "PixelData")?))
    }

    /// Parses the beginning of a file, at least up to the picture.
    ///
    /// # Errors
    ///
    /// Fails when the bytes do not begin a valid mosaic, or end before the picture.
    pub fn header(bytes: &[u8]) -> Result<Self, DicomError> {
        Self::of(&Attributes::read_header(bytes)?)
    }

    fn of(attributes: &Attributes<'_>) -> Result<Self, DicomError> {
        let columns = attributes.short(COLUMNS, "Columns")?;
        let rows = attributes.short(ROWS, "Rows")?;
        let csa = attributes.csa()?;
        let n_slice = n_slice(attributes, &csa, columns, rows)?;
        attributes.expect_short(SAMPLES_PER_PIXEL, "SamplesPerPixel", 1)?;
        attributes.expect_short(BITS_ALLOCATED, "BitsAllocated", 8 * VOXEL_BYTES)?;

        let tiling = Tiling::new(columns, rows, n_slice)?;
        let placement = placement(attributes, &csa)?;
        let space = tiling.space(&placement)?;
        let [milliseconds] = attributes.numbers(REPETITION_TIME, "RepetitionTime")?;
        let repetition_time = RepetitionTime::from_dicom_ms(milliseconds).map_err(|error| {
            DicomError::Attribute { name: "RepetitionTime", reason: error.to_string() }
        })?;
        let instance = uid_hash(attributes.required(SOP_INSTANCE_UID, "SOPInstanceUID")?);
        let series = attributes.required(SERIES_INSTANCE_UID, "SeriesInstanceUID")?;
        let time_of_day_us = [ACQUISITION_TIME, CONTENT_TIME]
            .into_iter()
            .find_map(|tag| time_of_day_us(attributes.text(tag)?));
        let day = attributes.integer(ACQUISITION_DATE).and_then(|day| day.try_into().ok());
        let n_slice_times = csa.slice_times_ms.len();
        Ok(Self {
            series_id: format!("{:016x}", uid_hash(series)),
            series_number: attributes.integer(SERIES_NUMBER).and_then(|n| n.try_into().ok()),
            instance,
            index: index(attributes)?,
            order: (day.unwrap_or(0), time_of_day_us.unwrap_or(0)),
            time_of_day_us,
            repetition_time,
            n_volumes: attributes
                .integer(N_TEMPORAL_POSITIONS)
                .filter(|n| (1..=MAX_ACQUISITION_NUMBER).contains(n))
                .and_then(|n| n.try_into().ok()),
            space,
            tiling,
            dtype: match attributes.short(PIXEL_REPRESENTATION, "PixelRepresentation")? {
                0 => Dtype::UInt16,
                _ => Dtype::Int16,
            },
            slope: attributes.optional_number(RESCALE_SLOPE, "RescaleSlope")?,
            intercept: attributes.optional_number(RESCALE_INTERCEPT, "RescaleIntercept")?,
            slice_times_s: if n_slice_times == n_slice {
                csa.slice_times_ms.iter().map(|ms| ms / 1000.0).collect()
            } else {
                Vec::new()
            },
        })
    }

    /// Time of day of acquisition as `HH:MM:SS.ffffff`.
    #[must_use]
    pub fn wall_time(&self) -> Option<String> {
        self.time_of_day_us.map(wall_time)
    }
}

/// Number of slices in the picture. Fails when the picture is not a mosaic.
fn n_slice(
    attributes: &Attributes<'_>,
    csa: &CsaImageHeader,
    columns: usize,
    rows: usize,
) -> Result<usize, DicomError> {
    let not = |found| Err(DicomError::NotMosaic { found });
    // XA scanners also write MOSAIC into the image type of enhanced images, so check this first.
    let n_frame = attributes.integer(N_FRAMES).unwrap_or(1);
    if n_frame > 1 || attributes.text(SOP_CLASS_UID).is_some_and(|uid| ENHANCED.contains(&uid)) {
        return not(format!("an enhanced multi-frame image of {n_frame} frames"));
    }
    let says_mosaic =
        attributes.text(IMAGE_TYPE).is_some_and(|kinds| kinds.split('\\').any(|k| k == "MOSAIC"));
    let private = attributes.get(N_IMAGES_IN_MOSAIC).and_then(|value| match value {
        &[low, high] => Some(f64::from(u16::from_le_bytes([low, high]))),
        _ => None,
    });
    match csa.n_slice.or(private) {
        // Negative numbers and NaN become 0, which `Tiling::new` refuses.
        Some(n_slice) if says_mosaic || n_slice > 1.0 => Ok(n_slice as usize),
        None if says_mosaic => Err(missing("NumberOfImagesInMosaic")),
        _ => not(format!("a single image of {columns} x {rows} pixels")),
    }
}

fn placement(attributes: &Attributes<'_>, csa: &CsaImageHeader) -> Result<Placement, DicomError> {
    let [xx, xy, xz, yx, yy, yz] =
        attributes.numbers(IMAGE_ORIENTATION, "ImageOrientationPatient")?;
    let orientation = [[xx, xy, xz], [yx, yy, yz]];
    // The first number is the distance between rows, which is a step along y.
    let [y_mm, x_mm] = attributes.numbers(PIXEL_SPACING, "PixelSpacing")?;
    let spacing = attributes.optional_number(SPACING_BETWEEN_SLICES, "SpacingBetweenSlices")?;
    let slice_mm = match spacing {
        Some(spacing) => spacing,
        None => attributes.numbers(SLICE_THICKNESS, "SliceThickness").map(|[mm]| mm)?,
    };
    Ok(Placement {
        position_mm: attributes.numbers(IMAGE_POSITION, "ImagePositionPatient")?,
        orientation,
        pixel_mm: [x_mm, y_mm],
        slice_normal: csa.slice_normal.unwrap_or_else(|| cross(orientation)),
        slice_mm,
    })
}

fn index(attributes: &Attributes<'_>) -> Result<TrIndex, DicomError> {
    let (name, number) = match attributes.integer(ACQUISITION_NUMBER) {
        Some(number) => ("AcquisitionNumber", Some(number)),
        None => ("InstanceNumber", attributes.integer(INSTANCE_NUMBER)),
    };
    let number = number.ok_or_else(|| missing("AcquisitionNumber"))?;
    if !(1..=MAX_ACQUISITION_NUMBER).contains(&number) {
        let reason = format!("is {number}, expected 1 to {MAX_ACQUISITION_NUMBER}");
        return Err(attribute(name, reason));
    }
    Ok(TrIndex((number - 1) as u32))
}

/// A hash of a UID without its padding.
fn uid_hash(uid: &[u8]) -> u64 {
    short_hash(text(uid).map_or(uid, str::as_bytes))
}

#[cfg(test)]
mod tests;
