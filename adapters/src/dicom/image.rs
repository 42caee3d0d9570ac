//! One Siemens mosaic: what its header says, checked, and nothing that says who was scanned.
//!
//! This is where patient data ends. Of everything in a header, the attributes in [`WANTED`] are
//! looked at; of those, texts are compared or hashed and only numbers are kept. Whatever a later
//! step prints, there is no name in it to print.

use corticast_bold::{
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_wire::message::Dtype;

use crate::dicom::{
    csa::CsaImageHeader,
    elements::{DicomError, Elements, text},
    mosaic::{Placement, Tiling, VOXEL_BYTES, cross},
};

/// Largest acquisition number that is believed; above it a header is damaged.
const MAX_ACQUISITION_NUMBER: i64 = 1_000_000;
/// Enhanced MR Image Storage, and the same converted from single images.
const ENHANCED: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"];
const DAY_US: i64 = 24 * 3600 * 1_000_000;

const IMAGE_TYPE: u32 = 0x0008_0008;
const SOP_CLASS_UID: u32 = 0x0008_0016;
const SOP_INSTANCE_UID: u32 = 0x0008_0018;
const ACQUISITION_DATE: u32 = 0x0008_0022;
const ACQUISITION_TIME: u32 = 0x0008_0032;
const CONTENT_TIME: u32 = 0x0008_0033;
const SLICE_THICKNESS: u32 = 0x0018_0050;
const REPETITION_TIME: u32 = 0x0018_0080;
const SPACING_BETWEEN_SLICES: u32 = 0x0018_0088;
/// Private; (0019,xx0A) of the block that `SIEMENS MR HEADER` reserved.
const N_IMAGES_IN_MOSAIC: u32 = 0x0019_100A;
const SERIES_INSTANCE_UID: u32 = 0x0020_000E;
const SERIES_NUMBER: u32 = 0x0020_0011;
const ACQUISITION_NUMBER: u32 = 0x0020_0012;
const INSTANCE_NUMBER: u32 = 0x0020_0013;
const IMAGE_POSITION: u32 = 0x0020_0032;
const IMAGE_ORIENTATION: u32 = 0x0020_0037;
const N_TEMPORAL_POSITIONS: u32 = 0x0020_0105;
const SAMPLES_PER_PIXEL: u32 = 0x0028_0002;
const N_FRAMES: u32 = 0x0028_0008;
const ROWS: u32 = 0x0028_0010;
const COLUMNS: u32 = 0x0028_0011;
const PIXEL_SPACING: u32 = 0x0028_0030;
const BITS_ALLOCATED: u32 = 0x0028_0100;
const PIXEL_REPRESENTATION: u32 = 0x0028_0103;
const RESCALE_INTERCEPT: u32 = 0x0028_1052;
const RESCALE_SLOPE: u32 = 0x0028_1053;
/// Private; (0029,xx10) of the block that `SIEMENS CSA HEADER` reserved.
const CSA_IMAGE_HEADER: u32 = 0x0029_1010;
const PIXEL_DATA: u32 = 0x7FE0_0010;

/// Everything that is looked at, in order of tag.
const WANTED: [u32; 28] = [
    IMAGE_TYPE,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    ACQUISITION_DATE,
    ACQUISITION_TIME,
    CONTENT_TIME,
    SLICE_THICKNESS,
    REPETITION_TIME,
    SPACING_BETWEEN_SLICES,
    N_IMAGES_IN_MOSAIC,
    SERIES_INSTANCE_UID,
    SERIES_NUMBER,
    ACQUISITION_NUMBER,
    INSTANCE_NUMBER,
    IMAGE_POSITION,
    IMAGE_ORIENTATION,
    N_TEMPORAL_POSITIONS,
    SAMPLES_PER_PIXEL,
    N_FRAMES,
    ROWS,
    COLUMNS,
    PIXEL_SPACING,
    BITS_ALLOCATED,
    PIXEL_REPRESENTATION,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    CSA_IMAGE_HEADER,
    PIXEL_DATA,
];

/// What a run needs to know of one mosaic.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// First 16 hex digits of the BLAKE3 hash of SeriesInstanceUID.
    pub series_id: String,
    /// Number of the series within its study.
    pub series_number: Option<u32>,
    /// Hash of SOPInstanceUID: the same image twice has the same.
    pub instance: u64,
    /// Position in the series: AcquisitionNumber, which starts at 1, less 1.
    pub index: TrIndex,
    /// Day and time of day of acquisition, for sorting; the day is not kept apart.
    pub order: (u32, i64),
    /// Time of day of acquisition, in microseconds.
    pub time_of_day_us: Option<i64>,
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// Volumes of the series, where the header says so.
    pub n_volumes: Option<u32>,
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// How the slices lie in the picture.
    pub tiling: Tiling,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// `signal = slope · stored + intercept`.
    pub slope: Option<f64>,
    /// See `slope`.
    pub intercept: Option<f64>,
    /// Start of each slice after the start of the volume, in seconds; empty when not given.
    pub slice_times_s: Vec<f64>,
}

impl Image {
    /// Reads a whole file. The second value is the picture, to be given to
    /// [`Tiling::unmosaic`].
    ///
    /// # Errors
    ///
    /// Says what was found and what was expected; [`DicomError::is_incomplete`] tells whether
    /// the file may still become an image.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), DicomError> {
        let attributes = Attributes::read(bytes)?;
        let columns = attributes.short(COLUMNS, "Columns")?;
        let rows = attributes.short(ROWS, "Rows")?;
        let csa = attributes.csa()?;
        let n_slice = attributes.n_slice(&csa, columns, rows)?;
        attributes.expect_short(SAMPLES_PER_PIXEL, "SamplesPerPixel", 1)?;
        attributes.expect_short(BITS_ALLOCATED, "BitsAllocated", 8 * VOXEL_BYTES)?;

        let tiling = Tiling::new(columns, rows, n_slice)?;
        let placement = attributes.placement(&csa)?;
        let space = tiling.space(&placement)?;
        let [milliseconds] = attributes.numbers(REPETITION_TIME, "RepetitionTime")?;
        let repetition_time = RepetitionTime::from_dicom_ms(milliseconds).map_err(|error| {
            DicomError::Attribute { name: "RepetitionTime", reason: error.to_string() }
        })?;
        let instance = hash(attributes.required(SOP_INSTANCE_UID, "SOPInstanceUID")?);
        let series = attributes.required(SERIES_INSTANCE_UID, "SeriesInstanceUID")?;
        let time_of_day_us = [ACQUISITION_TIME, CONTENT_TIME]
            .into_iter()
            .find_map(|tag| time_of_day_us(attributes.text(tag)?));
        let day = attributes.integer(ACQUISITION_DATE).and_then(|day| day.try_into().ok());
        let n_slice_times = csa.slice_times_ms.len();
        let image = Self {
            series_id: format!("{:016x}", hash(series)),
            series_number: attributes.integer(SERIES_NUMBER).and_then(|n| n.try_into().ok()),
            instance,
            index: attributes.index()?,
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
        };
        Ok((image, attributes.required(PIXEL_DATA, "PixelData")?))
    }

    /// Time of day of acquisition as `HH:MM:SS.ffffff`.
    #[must_use]
    pub fn wall_time(&self) -> Option<String> {
        self.time_of_day_us.map(|us| {
            let (seconds, us) = (us / 1_000_000, us % 1_000_000);
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            format!("{hours:02}:{minutes:02}:{:02}.{us:06}", seconds % 60)
        })
    }
}

/// The values of [`WANTED`], as they stand in the file.
struct Attributes<'a> {
    values: [Option<&'a [u8]>; WANTED.len()],
}

impl<'a> Attributes<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DicomError> {
        let mut elements = Elements::of_file(bytes)?;
        let mut attributes = Self { values: [None; WANTED.len()] };
        // Blocks of private elements, as (group, second byte of the element number).
        let (mut mr_block, mut csa_block) = (None, None);
        while let Some(element) = elements.next()? {
            let (block, number) = (element.tag >> 8, element.tag & 0xFF);
            if matches!(element.tag >> 16, 0x0019 | 0x0029) {
                let creator = element.value.and_then(text);
                let reserved = Some((block & 0xFF_FF00) | number);
                match (block & 0xFF, creator) {
                    (0, Some("SIEMENS MR HEADER")) => mr_block = mr_block.or(reserved),
                    (0, Some("SIEMENS CSA HEADER")) => csa_block = csa_block.or(reserved),
                    _ if Some(block) == mr_block && number == 0x0A => {
                        attributes.put(N_IMAGES_IN_MOSAIC, element.value);
                    }
                    _ if Some(block) == csa_block && number == 0x10 => {
                        attributes.put(CSA_IMAGE_HEADER, element.value);
                    }
                    _ => {}
                }
                continue;
            }
            attributes.put(element.tag, element.value);
            if element.tag == PIXEL_DATA {
                if element.value.is_none() {
                    return Err(DicomError::TransferSyntax("one with encapsulated pixels".into()));
                }
                return Ok(attributes);
            }
        }
        Err(DicomError::NoPixels(bytes.len()))
    }

    fn put(&mut self, tag: u32, value: Option<&'a [u8]>) {
        if let Ok(place) = WANTED.binary_search(&tag) {
            self.values[place] = value;
        }
    }

    fn get(&self, tag: u32) -> Option<&'a [u8]> {
        WANTED.binary_search(&tag).ok().and_then(|place| self.values[place])
    }

    fn required(&self, tag: u32, name: &'static str) -> Result<&'a [u8], DicomError> {
        self.get(tag).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    fn text(&self, tag: u32) -> Option<&'a str> {
        self.get(tag).and_then(text)
    }

    fn integer(&self, tag: u32) -> Option<i64> {
        self.text(tag)?.parse().ok()
    }

    /// An unsigned 16-bit number.
    fn short(&self, tag: u32, name: &'static str) -> Result<usize, DicomError> {
        match self.required(tag, name)? {
            &[low, high] => Ok(u16::from_le_bytes([low, high]).into()),
            value => Err(attribute(name, format!("holds {} bytes, expected 2", value.len()))),
        }
    }

    fn expect_short(&self, tag: u32, name: &'static str, wanted: usize) -> Result<(), DicomError> {
        match self.short(tag, name)? {
            found if found == wanted => Ok(()),
            found => Err(attribute(name, format!("is {found}, expected {wanted}"))),
        }
    }

    /// Decimal numbers, parted by backslashes.
    fn numbers<const N: usize>(
        &self,
        tag: u32,
        name: &'static str,
    ) -> Result<[f64; N], DicomError> {
        let text = self.text(tag).ok_or_else(|| missing(name))?;
        let numbers: Vec<f64> = text
            .split('\\')
            .take(N + 1)
            .filter_map(|part| part.trim().parse().ok().filter(|number: &f64| number.is_finite()))
            .collect();
        let found = numbers.len();
        numbers
            .try_into()
            .map_err(|_| attribute(name, format!("holds {found} numbers, expected {N}")))
    }

    fn optional_number(&self, tag: u32, name: &'static str) -> Result<Option<f64>, DicomError> {
        match self.text(tag) {
            None => Ok(None),
            Some(_) => self.numbers(tag, name).map(|[number]| Some(number)),
        }
    }

    fn csa(&self) -> Result<CsaImageHeader, DicomError> {
        match self.get(CSA_IMAGE_HEADER) {
            None => Ok(CsaImageHeader::default()),
            Some(bytes) => CsaImageHeader::parse(bytes)
                .map_err(|error| attribute("the CSA image header", error.to_string())),
        }
    }

    /// How many slices the picture holds, if it is a mosaic at all.
    fn n_slice(
        &self,
        csa: &CsaImageHeader,
        columns: usize,
        rows: usize,
    ) -> Result<usize, DicomError> {
        let not = |found| Err(DicomError::NotMosaic { found });
        // XA scanners write MOSAIC into the image type of enhanced images, too: look here first.
        let n_frame = self.integer(N_FRAMES).unwrap_or(1);
        if n_frame > 1 || self.text(SOP_CLASS_UID).is_some_and(|uid| ENHANCED.contains(&uid)) {
            return not(format!("an enhanced multi-frame image of {n_frame} frames"));
        }
        let says_mosaic =
            self.text(IMAGE_TYPE).is_some_and(|kinds| kinds.split('\\').any(|k| k == "MOSAIC"));
        let private = self.get(N_IMAGES_IN_MOSAIC).and_then(|value| match value {
            &[low, high] => Some(f64::from(u16::from_le_bytes([low, high]))),
            _ => None,
        });
        match csa.n_slice.or(private) {
            // Negative and NaN become 0, which the tiling refuses.
            Some(n_slice) if says_mosaic || n_slice > 1.0 => Ok(n_slice as usize),
            None if says_mosaic => Err(missing("NumberOfImagesInMosaic")),
            _ => not(format!("a single image of {columns} x {rows} pixels")),
        }
    }

    fn placement(&self, csa: &CsaImageHeader) -> Result<Placement, DicomError> {
        let [xx, xy, xz, yx, yy, yz] =
            self.numbers(IMAGE_ORIENTATION, "ImageOrientationPatient")?;
        let orientation = [[xx, xy, xz], [yx, yy, yz]];
        // The first number is the distance between rows, which is a step along y.
        let [y_mm, x_mm] = self.numbers(PIXEL_SPACING, "PixelSpacing")?;
        let spacing = self.optional_number(SPACING_BETWEEN_SLICES, "SpacingBetweenSlices")?;
        let slice_mm = match spacing {
            Some(spacing) => spacing,
            None => self.numbers(SLICE_THICKNESS, "SliceThickness").map(|[mm]| mm)?,
        };
        Ok(Placement {
            position_mm: self.numbers(IMAGE_POSITION, "ImagePositionPatient")?,
            orientation,
            pixel_mm: [x_mm, y_mm],
            slice_normal: csa.slice_normal.unwrap_or_else(|| cross(orientation)),
            slice_mm,
        })
    }

    fn index(&self) -> Result<TrIndex, DicomError> {
        let (name, number) = match self.integer(ACQUISITION_NUMBER) {
            Some(number) => ("AcquisitionNumber", Some(number)),
            None => ("InstanceNumber", self.integer(INSTANCE_NUMBER)),
        };
        let number = number.ok_or_else(|| missing("AcquisitionNumber"))?;
        if !(1..=MAX_ACQUISITION_NUMBER).contains(&number) {
            let reason = format!("is {number}, expected 1 to {MAX_ACQUISITION_NUMBER}");
            return Err(attribute(name, reason));
        }
        Ok(TrIndex((number - 1) as u32))
    }
}

fn missing(name: &'static str) -> DicomError {
    attribute(name, "is missing, expected in a Siemens mosaic".into())
}

fn attribute(name: &'static str, reason: String) -> DicomError {
    DicomError::Attribute { name, reason }
}

/// The first eight bytes of a hash that does not lead back to a UID.
fn hash(uid: &[u8]) -> u64 {
    let uid = text(uid).map_or(uid, str::as_bytes);
    let digest = blake3::hash(uid);
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}

/// `HHMMSS.ffffff` (the end may be missing; old files write colons) in microseconds.
fn time_of_day_us(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: String = whole.chars().filter(|&c| c != ':').collect();
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole.len(), 2 | 4 | 6) || !digits(&whole) || !digits(fraction) {
        return None;
    }
    let field = |at: usize| whole.get(at..at + 2).map_or(Some(0), |part| part.parse::<i64>().ok());
    let us: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let us = ((field(0)? * 60 + field(2)?) * 60 + field(4)?) * 1_000_000 + us;
    (us < DAY_US).then_some(us)
}

/// From one time of day to another, in microseconds, whatever midnight lies between.
#[must_use]
pub fn elapsed_us(from: i64, to: i64) -> i64 {
    (to - from + DAY_US / 2).rem_euclid(DAY_US) - DAY_US / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapter::real_data,
        dicom::fixture::{self, Expected},
    };

    fn assert_is(image: &Image, expected: &Expected, name: &str) {
        assert_eq!(image.space.matrix(), expected.matrix, "{name}");
        let rows = image.space.affine().iter().flatten().zip(expected.affine.iter().flatten());
        let off = rows.map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f64::max);
        assert!(off < 2e-6, "{name}: affine is off by {off} mm");
        assert!((image.repetition_time.as_secs() - expected.repetition_time_s).abs() < 1e-12);
        assert_eq!(image.slice_times_s.len(), expected.slice_times_s.len(), "{name}");
        for (ours, theirs) in image.slice_times_s.iter().zip(&expected.slice_times_s) {
            assert!((ours - theirs).abs() < 1e-9, "{name}: slice time {ours}, expected {theirs}");
        }
    }

    /// The affine is that of nibabel 5 (DICOM stores fourteen digits); see tests/data/dicom.
    #[test]
    fn headers_say_what_nibabel_says_and_the_ramp_is_cut_into_slices() {
        for (name, columns, k) in [("skyra", 384, 6), ("prisma", 320, 5)] {
            let bytes = fixture::original(name);
            let (image, picture) = Image::parse(&bytes).unwrap();
            assert_is(&image, &fixture::nibabel()[name], name);
            assert_eq!((image.index, image.dtype), (TrIndex(0), Dtype::UInt16));
            let [nx, ny, nz] = image.space.matrix();
            let voxels = image.tiling.unmosaic(picture).unwrap();
            assert_eq!(voxels.len(), nx * ny * nz * VOXEL_BYTES);
            for (at, stored) in voxels.as_chunks::<2>().0.iter().enumerate() {
                let (x, y, z) = (at % nx, at / nx % ny, at / nx / ny);
                let (column, row) = (z % k * nx + x, z / k * ny + y);
                let ramp = (row * columns + column) % 4096;
                assert_eq!(usize::from(u16::from_le_bytes(*stored)), ramp, "{x} {y} {z}");
            }
        }
    }

    #[test]
    fn real_scans_are_what_nibabel_makes_of_them_to_the_voxel() {
        let Some(data) = real_data() else { return };
        let real: Vec<_> =
            fixture::nibabel().into_iter().filter(|(name, _)| name.contains('/')).collect();
        assert_eq!(real.len(), 14);
        for (name, expected) in real {
            let bytes = std::fs::read(data.join(&name)).unwrap();
            let (image, picture) = Image::parse(&bytes).unwrap();
            assert_is(&image, &expected, &name);
            let voxels = image.tiling.unmosaic(picture).unwrap();
            assert_eq!(crc32fast::hash(&voxels), expected.crc32, "{name}");
        }
    }

    #[test]
    fn every_truncation_is_incomplete_and_never_an_image() {
        let bytes = fixture::original("skyra");
        let step = bytes.len() / 60;
        let header = (0..2000).step_by(37);
        for cut in header.chain((0..bytes.len()).step_by(step)).chain([bytes.len() - 1]) {
            let error = Image::parse(&bytes[..cut]).unwrap_err();
            assert!(error.is_incomplete(), "cut at {cut}: {error}");
        }
    }

    #[test]
    fn an_acquisition_number_that_cannot_be_is_refused_with_its_range() {
        for (number, found) in [("0", "0"), ("-3", "-3"), ("4000000000", "4000000000")] {
            let edits = [(fixture::ACQUISITION_NUMBER, number)];
            let error = Image::parse(&fixture::volume("prisma", 1, &edits)).unwrap_err();
            let expected = format!("AcquisitionNumber is {found}, expected 1 to 1000000");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_single_image_is_refused_for_what_it_is() {
        let Some(data) = real_data() else { return };
        let bytes = std::fs::read(data.join("ge_slices/i2862280.MRDC.1")).unwrap();
        let message = Image::parse(&bytes).unwrap_err().to_string();
        assert_eq!(message, "found a single image of 64 x 64 pixels, expected a Siemens mosaic");
    }

    #[test]
    fn no_error_repeats_a_text_of_the_header() {
        for tag in [fixture::REPETITION_TIME, fixture::ACQUISITION_NUMBER, IMAGE_POSITION] {
            let bytes = fixture::volume("skyra", 1, &[(tag, "Doe^Jane")]);
            let printed = match Image::parse(&bytes) {
                Ok((image, _)) => format!("{image:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!printed.contains("Doe") && !printed.contains("lanted"), "{printed}");
        }
    }

    #[test]
    fn times_of_day_are_read_as_scanners_write_them() {
        let quarter_to = Some((11 * 3600 + 45 * 60) * 1_000_000);
        for text in ["114500", "1145", "11:45:00", "114500.000000"] {
            assert_eq!(time_of_day_us(text), quarter_to, "{text}");
        }
        assert_eq!(time_of_day_us("000000.25"), Some(250_000));
        for text in ["", "1", "245900", "Doe^Ja", "12e4"] {
            assert_eq!(time_of_day_us(text), None, "{text}");
        }
        let image = Image::parse(&fixture::original("skyra")).unwrap().0;
        assert_eq!(image.wall_time().as_deref(), Some("12:47:50.327500"));
        assert_eq!(elapsed_us(DAY_US - 1, 1), 2);
    }
}
