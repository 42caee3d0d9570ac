//! The attributes that are read. All others are skipped.
//!
//! Private attributes are written as if their block were the first one: (gggg,10xx).

pub(super) const IMAGE_TYPE: u32 = 0x0008_0008;
pub(super) const SOP_CLASS_UID: u32 = 0x0008_0016;
pub(super) const SOP_INSTANCE_UID: u32 = 0x0008_0018;
pub(super) const ACQUISITION_DATE: u32 = 0x0008_0022;
pub(super) const ACQUISITION_DATETIME: u32 = 0x0008_002A;
pub(super) const ACQUISITION_TIME: u32 = 0x0008_0032;
pub(super) const CONTENT_TIME: u32 = 0x0008_0033;
pub(super) const MODALITY: u32 = 0x0008_0060;
pub(super) const MANUFACTURER: u32 = 0x0008_0070;
pub(super) const SERIES_DESCRIPTION: u32 = 0x0008_103E;
pub(super) const RELATED_SERIES: u32 = 0x0008_1250;
pub(super) const FRAME_TYPE: u32 = 0x0008_9007;
pub(super) const COMPLEX_COMPONENT: u32 = 0x0008_9208;
/// Only hashed.
pub(super) const PATIENT_ID: u32 = 0x0010_0020;
pub(super) const SCANNING_SEQUENCE: u32 = 0x0018_0020;
pub(super) const SLICE_THICKNESS: u32 = 0x0018_0050;
pub(super) const REPETITION_TIME: u32 = 0x0018_0080;
pub(super) const ECHO_TIME: u32 = 0x0018_0081;
pub(super) const ECHO_NUMBER: u32 = 0x0018_0086;
pub(super) const SPACING_BETWEEN_SLICES: u32 = 0x0018_0088;
pub(super) const SOFTWARE_VERSIONS: u32 = 0x0018_1020;
pub(super) const PROTOCOL_NAME: u32 = 0x0018_1030;
pub(super) const ECHO_PLANAR: u32 = 0x0018_9018;
pub(super) const FRAME_ACQUISITION_DATETIME: u32 = 0x0018_9074;
pub(super) const EFFECTIVE_ECHO_TIME: u32 = 0x0018_9082;
/// Private, `SIEMENS MR HEADER`.
pub(super) const N_IMAGES_IN_MOSAIC: u32 = 0x0019_100A;
pub(super) const STUDY_INSTANCE_UID: u32 = 0x0020_000D;
pub(super) const SERIES_INSTANCE_UID: u32 = 0x0020_000E;
pub(super) const SERIES_NUMBER: u32 = 0x0020_0011;
pub(super) const ACQUISITION_NUMBER: u32 = 0x0020_0012;
pub(super) const INSTANCE_NUMBER: u32 = 0x0020_0013;
pub(super) const IMAGE_POSITION: u32 = 0x0020_0032;
pub(super) const IMAGE_ORIENTATION: u32 = 0x0020_0037;
pub(super) const TEMPORAL_POSITION: u32 = 0x0020_0100;
pub(super) const N_TEMPORAL_POSITIONS: u32 = 0x0020_0105;
pub(super) const IMAGES_IN_ACQUISITION: u32 = 0x0020_1002;
pub(super) const IMAGE_COMMENTS: u32 = 0x0020_4000;
pub(super) const TEMPORAL_POSITION_INDEX: u32 = 0x0020_9128;
/// Private, `SIEMENS MR SDS 01`: the protocol as text.
pub(super) const SIEMENS_PROTOCOL: u32 = 0x0021_1019;
/// Private, `GEMS_RELA_01`.
pub(super) const GE_N_LOCATIONS: u32 = 0x0021_104F;
/// Private, `SIEMENS MR SDI 02`: the image type as before XA.
pub(super) const SIEMENS_IMAGE_TYPE: u32 = 0x0021_1075;
/// Private, `SIEMENS MR SDI 02`: of a frame, a sequence.
pub(super) const SIEMENS_FRAME: u32 = 0x0021_10FE;
/// Private, `GEMS_SERS_01`: the protocol, gzipped.
pub(super) const GE_PROTOCOL: u32 = 0x0025_101B;
pub(super) const SAMPLES_PER_PIXEL: u32 = 0x0028_0002;
pub(super) const PHOTOMETRIC: u32 = 0x0028_0004;
pub(super) const N_FRAMES: u32 = 0x0028_0008;
pub(super) const ROWS: u32 = 0x0028_0010;
pub(super) const COLUMNS: u32 = 0x0028_0011;
pub(super) const PIXEL_SPACING: u32 = 0x0028_0030;
pub(super) const BITS_ALLOCATED: u32 = 0x0028_0100;
pub(super) const BITS_STORED: u32 = 0x0028_0101;
pub(super) const HIGH_BIT: u32 = 0x0028_0102;
pub(super) const PIXEL_REPRESENTATION: u32 = 0x0028_0103;
pub(super) const PIXEL_PADDING: u32 = 0x0028_0120;
pub(super) const PIXEL_PADDING_LIMIT: u32 = 0x0028_0121;
pub(super) const RESCALE_INTERCEPT: u32 = 0x0028_1052;
pub(super) const RESCALE_SLOPE: u32 = 0x0028_1053;
/// Private, `SIEMENS CSA HEADER`: of the image.
pub(super) const CSA_IMAGE_HEADER: u32 = 0x0029_1010;
/// Private, `SIEMENS CSA HEADER`: of the series, with the protocol as text.
pub(super) const CSA_SERIES_HEADER: u32 = 0x0029_1020;
/// Private, `GEMS_PARM_01`: 0 magnitude, 1 phase, 2 real, 3 imaginary.
pub(super) const GE_IMAGE_TYPE: u32 = 0x0043_102F;
/// Private, `Image Private Header` (United Imaging): slices in a grid, as text.
pub(super) const UIH_N_SLICES: u32 = 0x0065_1050;
/// Private, `Image Private Header`: position and time of each slice, a sequence.
pub(super) const UIH_SLICES: u32 = 0x0065_1051;
/// Private, `Philips Imaging DD 001`.
pub(super) const PHILIPS_N_SLICES: u32 = 0x2001_1018;
/// Private, `Philips MR Imaging DD 001`.
pub(super) const PHILIPS_SCALE_SLOPE: u32 = 0x2005_100E;
/// Private, `Philips MR Imaging DD 005`: of a frame, a sequence.
pub(super) const PHILIPS_FRAME: u32 = 0x2005_140F;
pub(super) const SHARED_GROUPS: u32 = 0x5200_9229;
pub(super) const PER_FRAME_GROUPS: u32 = 0x5200_9230;
pub(super) const FLOAT_PIXEL_DATA: u32 = 0x7FE0_0008;
pub(super) const PIXEL_DATA: u32 = 0x7FE0_0010;

/// Every attribute of the top level that is read, in order of tag.
pub(super) const WANTED: [u32; 64] = [
    IMAGE_TYPE,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    ACQUISITION_DATE,
    ACQUISITION_DATETIME,
    ACQUISITION_TIME,
    CONTENT_TIME,
    MODALITY,
    MANUFACTURER,
    SERIES_DESCRIPTION,
    RELATED_SERIES,
    COMPLEX_COMPONENT,
    PATIENT_ID,
    SCANNING_SEQUENCE,
    SLICE_THICKNESS,
    REPETITION_TIME,
    ECHO_TIME,
    ECHO_NUMBER,
    SPACING_BETWEEN_SLICES,
    SOFTWARE_VERSIONS,
    PROTOCOL_NAME,
    ECHO_PLANAR,
    EFFECTIVE_ECHO_TIME,
    N_IMAGES_IN_MOSAIC,
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
    SERIES_NUMBER,
    ACQUISITION_NUMBER,
    INSTANCE_NUMBER,
    IMAGE_POSITION,
    IMAGE_ORIENTATION,
    TEMPORAL_POSITION,
    N_TEMPORAL_POSITIONS,
    IMAGES_IN_ACQUISITION,
    IMAGE_COMMENTS,
    SIEMENS_PROTOCOL,
    GE_N_LOCATIONS,
    SIEMENS_IMAGE_TYPE,
    GE_PROTOCOL,
    SAMPLES_PER_PIXEL,
    PHOTOMETRIC,
    N_FRAMES,
    ROWS,
    COLUMNS,
    PIXEL_SPACING,
    BITS_ALLOCATED,
    BITS_STORED,
    HIGH_BIT,
    PIXEL_REPRESENTATION,
    PIXEL_PADDING,
    PIXEL_PADDING_LIMIT,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    CSA_IMAGE_HEADER,
    CSA_SERIES_HEADER,
    GE_IMAGE_TYPE,
    UIH_N_SLICES,
    UIH_SLICES,
    PHILIPS_N_SLICES,
    PHILIPS_SCALE_SLOPE,
    SHARED_GROUPS,
    PER_FRAME_GROUPS,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
];

/// Private attributes: group, who reserved the block, number within the block, and what is read.
pub(super) const PRIVATE: [(u16, &str, u8, u32); 14] = [
    (0x0019, "SIEMENS MR HEADER", 0x0A, N_IMAGES_IN_MOSAIC),
    (0x0021, "SIEMENS MR SDS 01", 0x19, SIEMENS_PROTOCOL),
    (0x0021, "SIEMENS MR SDI 02", 0x75, SIEMENS_IMAGE_TYPE),
    (0x0021, "SIEMENS MR SDI 02", 0xFE, SIEMENS_FRAME),
    (0x0021, "GEMS_RELA_01", 0x4F, GE_N_LOCATIONS),
    (0x0025, "GEMS_SERS_01", 0x1B, GE_PROTOCOL),
    (0x0029, "SIEMENS CSA HEADER", 0x10, CSA_IMAGE_HEADER),
    (0x0029, "SIEMENS CSA HEADER", 0x20, CSA_SERIES_HEADER),
    (0x0043, "GEMS_PARM_01", 0x2F, GE_IMAGE_TYPE),
    (0x0065, "Image Private Header", 0x50, UIH_N_SLICES),
    (0x0065, "Image Private Header", 0x51, UIH_SLICES),
    (0x2001, "Philips Imaging DD 001", 0x18, PHILIPS_N_SLICES),
    (0x2005, "Philips MR Imaging DD 001", 0x0E, PHILIPS_SCALE_SLOPE),
    (0x2005, "Philips MR Imaging DD 005", 0x0F, PHILIPS_FRAME),
];
