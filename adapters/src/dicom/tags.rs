//! The attributes that are read. All others are skipped.

pub(super) const IMAGE_TYPE: u32 = 0x0008_0008;
pub(super) const SOP_CLASS_UID: u32 = 0x0008_0016;
pub(super) const SOP_INSTANCE_UID: u32 = 0x0008_0018;
pub(super) const ACQUISITION_DATE: u32 = 0x0008_0022;
pub(super) const ACQUISITION_TIME: u32 = 0x0008_0032;
pub(super) const CONTENT_TIME: u32 = 0x0008_0033;
pub(super) const SLICE_THICKNESS: u32 = 0x0018_0050;
pub(super) const REPETITION_TIME: u32 = 0x0018_0080;
pub(super) const SPACING_BETWEEN_SLICES: u32 = 0x0018_0088;
/// Private; (0019,xx0A) of the block that `SIEMENS MR HEADER` reserved.
pub(super) const N_IMAGES_IN_MOSAIC: u32 = 0x0019_100A;
pub(super) const SERIES_INSTANCE_UID: u32 = 0x0020_000E;
pub(super) const SERIES_NUMBER: u32 = 0x0020_0011;
pub(super) const ACQUISITION_NUMBER: u32 = 0x0020_0012;
pub(super) const INSTANCE_NUMBER: u32 = 0x0020_0013;
pub(super) const IMAGE_POSITION: u32 = 0x0020_0032;
pub(super) const IMAGE_ORIENTATION: u32 = 0x0020_0037;
pub(super) const N_TEMPORAL_POSITIONS: u32 = 0x0020_0105;
pub(super) const SAMPLES_PER_PIXEL: u32 = 0x0028_0002;
pub(super) const N_FRAMES: u32 = 0x0028_0008;
pub(super) const ROWS: u32 = 0x0028_0010;
pub(super) const COLUMNS: u32 = 0x0028_0011;
pub(super) const PIXEL_SPACING: u32 = 0x0028_0030;
pub(super) const BITS_ALLOCATED: u32 = 0x0028_0100;
pub(super) const PIXEL_REPRESENTATION: u32 = 0x0028_0103;
pub(super) const RESCALE_INTERCEPT: u32 = 0x0028_1052;
pub(super) const RESCALE_SLOPE: u32 = 0x0028_1053;
/// Private; (0029,xx10) of the block that `SIEMENS CSA HEADER` reserved.
pub(super) const CSA_IMAGE_HEADER: u32 = 0x0029_1010;
pub(super) const PIXEL_DATA: u32 = 0x7FE0_0010;

/// Every attribute that is read, in order of tag.
pub(super) const WANTED: [u32; 28] = [
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
