//! The 348 bytes in front of a NIfTI-1 image, in either byte order.
//!
//! Only the fields that Corticast needs are read: matrix, data type, scaling, affine and TR. Any
//! bytes give a valid [`NiftiHeader`] or an error; the errors for a NIfTI-2 file and an Analyze file
//! say so.

use corticast_bold::{
    decode::Dtype,
    space::{InvalidSpace, VoxelSpace},
};

/// Bytes of a NIfTI-1 header.
pub const HEADER_BYTES: usize = 348;

/// Data type of one voxel in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredType {
    /// NIfTI code 2.
    UInt8,
    /// NIfTI code 4.
    Int16,
    /// NIfTI code 8.
    Int32,
    /// NIfTI code 16.
    Float32,
    /// NIfTI code 64.
    Float64,
    /// NIfTI code 256.
    Int8,
    /// NIfTI code 512.
    UInt16,
    /// NIfTI code 768.
    UInt32,
    /// NIfTI code 1024.
    Int64,
    /// NIfTI code 1280.
    UInt64,
}

impl StoredType {
    fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            2 => Self::UInt8,
            4 => Self::Int16,
            8 => Self::Int32,
            16 => Self::Float32,
            64 => Self::Float64,
            256 => Self::Int8,
            512 => Self::UInt16,
            768 => Self::UInt32,
            1024 => Self::Int64,
            1280 => Self::UInt64,
            _ => return None,
        })
    }

    /// Bytes of one voxel in the file.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::UInt8 | Self::Int8 => 1,
            Self::Int16 | Self::UInt16 => 2,
            Self::Int32 | Self::UInt32 | Self::Float32 => 4,
            Self::Float64 | Self::Int64 | Self::UInt64 => 8,
        }
    }

    /// The type on the wire. Types wider than 24 bits become `f32`; its rounding is finer than the
    /// resolution of any scanner.
    #[must_use]
    pub fn on_wire(self) -> Dtype {
        match self {
            Self::UInt8 | Self::Int8 | Self::Int16 => Dtype::Int16,
            Self::UInt16 => Dtype::UInt16,
            _ => Dtype::Float32,
        }
    }
}

/// The contents of a NIfTI-1 header.
#[derive(Clone, Debug, PartialEq)]
pub struct NiftiHeader {
    /// Matrix and affine of every volume.
    pub space: VoxelSpace,
    /// Volumes in the file; 1 for a 3-D file.
    pub n_volumes: u32,
    /// Whether the file has a time axis.
    pub is_4d: bool,
    /// Whether the voxels are in another file (`.hdr` and `.img`).
    pub is_pair: bool,
    /// Data type of one voxel.
    pub stored: StoredType,
    /// Whether the file is big-endian.
    pub big_endian: bool,
    /// Where the voxels start, in bytes from the start of their file.
    pub voxel_offset_bytes: u64,
    /// `signal = slope · stored + intercept`; `None` if the file has no scaling.
    pub slope: Option<f64>,
    /// See `slope`.
    pub intercept: Option<f64>,
    /// `pixdim[4]` in seconds; `None` if it is 0.
    pub repetition_time_s: Option<f64>,
    /// Why the position of the voxels may be another, for people.
    pub place_warning: Option<String>,
}

/// Why a header is not a usable NIfTI-1 header.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidHeader {
    /// The size at the start is that of a NIfTI-2 header.
    #[error("found a NIfTI-2 file, expected NIfTI-1; convert it with `nib-convert` or FSL")]
    Nifti2,
    /// The size at the start is not that of a header.
    #[error("not a NIfTI-1 header: it starts with {0:#010x}, expected 348 (0x0000015c)")]
    NotNifti(i32),
    /// The magic is that of no NIfTI-1 file.
    #[error("the magic is {0:?}, expected \"n+1\" or \"ni1\"")]
    Magic(String),
    /// There is no magic.
    #[error(
        "an Analyze 7.5 file, which does not say where its voxels lie; convert it to NIfTI with the \
         program that wrote it"
    )]
    Analyze,
    /// The data type is not supported.
    #[error("datatype is {code}{name}, expected an integer or real type of at most 64 bits")]
    DataType {
        /// The code found.
        code: i16,
        /// What people call it.
        name: &'static str,
    },
    /// The dimensions are invalid.
    #[error("dim is {0:?}, expected 3 or 4 dimensions of positive size")]
    Dimensions([i16; 8]),
    /// The voxels start inside the header or too far into the file.
    #[error("vox_offset is {0}, expected 352 to 16777216, in a pair 0 to 16777216")]
    VoxelOffset(f32),
    /// The matrix or the affine is invalid.
    #[error(transparent)]
    Space(#[from] InvalidSpace),
}

impl NiftiHeader {
    /// Parses a header.
    ///
    /// # Errors
    ///
    /// Fails when a field is invalid or the file is of another kind.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, InvalidHeader> {
        let start = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let big_endian = match (i32::from_le_bytes(start), i32::from_be_bytes(start)) {
            (348, _) => false,
            (_, 348) => true,
            (540, _) | (_, 540) => return Err(InvalidHeader::Nifti2),
            (other, _) => return Err(InvalidHeader::NotNifti(other)),
        };
        let fields = Fields { bytes, big_endian };
        let magic = &bytes[344..348];
        let is_pair = match magic {
            b"n+1\0" => false,
            b"ni1\0" => true,
            [0, 0, 0, 0] => return Err(InvalidHeader::Analyze),
            other => return Err(InvalidHeader::Magic(other.escape_ascii().to_string())),
        };

        let dim: [i16; 8] = std::array::from_fn(|i| fields.i16(40 + 2 * i));
        let size = |axis: usize| usize::try_from(dim[axis]).unwrap_or(0);
        let n_dim = size(0);
        let fifth_and_on = (5..=n_dim.min(7)).all(|axis| dim[axis] == 1);
        if !(3..=7).contains(&n_dim) || !fifth_and_on || (1..=n_dim).any(|a| dim[a] < 1) {
            return Err(InvalidHeader::Dimensions(dim));
        }
        let matrix = [size(1), size(2), size(3)];
        let n_volumes = if n_dim >= 4 { u32::try_from(dim[4]).unwrap_or(1) } else { 1 };

        let code = fields.i16(70);
        let stored = StoredType::from_code(code)
            .ok_or(InvalidHeader::DataType { code, name: name_of_type(code) })?;
        let voxel_offset = fields.f32(108);
        let least = if is_pair { 0.0 } else { 348.0 };
        if !(least..=16_777_216.0).contains(&voxel_offset) {
            return Err(InvalidHeader::VoxelOffset(voxel_offset));
        }
        let (slope, intercept) = scaling(fields.f32(112), fields.f32(116));
        let space = fields.space(matrix)?;
        Ok(Self {
            place_warning: fields.place_warning(&space),
            space,
            n_volumes,
            is_4d: n_dim >= 4,
            is_pair,
            stored,
            big_endian,
            voxel_offset_bytes: voxel_offset as u64,
            slope,
            intercept,
            repetition_time_s: repetition_time_s(fields.f32(92), bytes[123]),
        })
    }

    /// Bytes of one volume in the file.
    #[must_use]
    pub fn volume_bytes(&self) -> usize {
        self.space.n_voxel() * self.stored.size_bytes()
    }
}

/// What people call the data types that are not supported.
fn name_of_type(code: i16) -> &'static str {
    match code {
        1 => " (1 bit)",
        32 | 1792 | 2048 => " (complex)",
        128 | 2304 => " (colour, RGB)",
        1536 => " (128 bits)",
        _ => "",
    }
}

/// A slope of 0 or NaN means "not scaled" (nifti1.h, section "DATA SCALING").
fn scaling(slope: f32, intercept: f32) -> (Option<f64>, Option<f64>) {
    if !slope.is_finite() || slope.abs() <= 0.0 {
        return (None, None);
    }
    let intercept = if intercept.is_finite() { intercept } else { 0.0 };
    let identity = (slope - 1.0).abs() <= 0.0 && intercept.abs() <= 0.0;
    if identity { (None, None) } else { (Some(slope.into()), Some(intercept.into())) }
}

/// `pixdim[4]` in the unit that bits 3 to 5 of `xyzt_units` name; no unit means seconds.
fn repetition_time_s(pixdim4: f32, xyzt_units: u8) -> Option<f64> {
    let per_second = match xyzt_units & 0x38 {
        16 => 1e3,
        24 => 1e6,
        _ => 1.0,
    };
    let seconds = f64::from(pixdim4) / per_second;
    // 0.72 s is stored as 0.72000002861, so round to whole microseconds.
    let rounded = (seconds * 1e6).round() / 1e6;
    (rounded.is_finite() && rounded > 0.0).then_some(rounded)
}

/// The bytes of a header, with their byte order.
struct Fields<'a> {
    bytes: &'a [u8; HEADER_BYTES],
    big_endian: bool,
}

impl Fields<'_> {
    fn i16(&self, at: usize) -> i16 {
        let two = [self.bytes[at], self.bytes[at + 1]];
        if self.big_endian { i16::from_be_bytes(two) } else { i16::from_le_bytes(two) }
    }

    fn f32(&self, at: usize) -> f32 {
        let four = std::array::from_fn(|i| self.bytes[at + i]);
        if self.big_endian { f32::from_be_bytes(four) } else { f32::from_le_bytes(four) }
    }

    fn f64(&self, at: usize) -> f64 {
        self.f32(at).into()
    }

    /// The affine from the sform, else the qform, else the voxel sizes; the same order as nibabel.
    fn space(&self, matrix: [usize; 3]) -> Result<VoxelSpace, InvalidSpace> {
        let (qform_code, sform_code) = (self.i16(252), self.i16(254));
        if sform_code > 0 {
            let row = |r: usize| std::array::from_fn(|c| self.f64(280 + 16 * r + 4 * c));
            let space = VoxelSpace::new(matrix, [row(0), row(1), row(2), LAST_ROW]);
            if space.is_ok() || qform_code <= 0 {
                return space;
            }
        }
        if qform_code > 0 {
            return VoxelSpace::new(matrix, self.qform());
        }
        VoxelSpace::new(matrix, self.voxel_sizes_only(matrix))
    }

    /// What makes the position of the voxels doubtful: nothing gives it, or sform and qform differ.
    fn place_warning(&self, used: &VoxelSpace) -> Option<String> {
        let (qform_code, sform_code) = (self.i16(252), self.i16(254));
        if qform_code <= 0 && sform_code <= 0 {
            return Some(
                "the header has no sform and no qform: where the voxels lie is a guess (Analyze's \
                 axes, centred), which fits only images of the same kind"
                    .to_owned(),
            );
        }
        if qform_code <= 0 || sform_code <= 0 {
            return None;
        }
        let qform = VoxelSpace::new(used.matrix(), self.qform()).ok()?;
        let distance_mm = used.corner_distance_mm(&qform);
        (distance_mm > FORMS_DIFFER_MM).then(|| {
            format!(
                "sform (code {sform_code}) and qform (code {qform_code}) place a corner \
                 {distance_mm:.2} mm apart: the sform is used"
            )
        })
    }

    fn voxel_size_mm(&self, axis: usize) -> f64 {
        self.f64(80 + 4 * axis).abs()
    }

    /// The rotation as a quaternion (nifti1.h, section "QUATERNION REPRESENTATION").
    fn qform(&self) -> [[f64; 4]; 4] {
        let (b, c, d) = (self.f64(256), self.f64(260), self.f64(264));
        let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
        let rotation = [
            [a * a + b * b - c * c - d * d, 2. * (b * c - a * d), 2. * (b * d + a * c)],
            [2. * (b * c + a * d), a * a + c * c - b * b - d * d, 2. * (c * d - a * b)],
            [2. * (b * d - a * c), 2. * (c * d + a * b), a * a + d * d - b * b - c * c],
        ];
        let qfac = if self.f32(76) < 0.0 { -1.0 } else { 1.0 };
        let size = [self.voxel_size_mm(0), self.voxel_size_mm(1), qfac * self.voxel_size_mm(2)];
        let row = |r: usize| {
            let [x, y, z]: [f64; 3] = std::array::from_fn(|c| rotation[r][c] * size[c]);
            [x, y, z, self.f64(268 + 4 * r)]
        };
        [row(0), row(1), row(2), LAST_ROW]
    }

    /// The affine without sform and qform. As in nibabel, x runs to the left (the Analyze
    /// convention) and the origin is the middle of the matrix.
    fn voxel_sizes_only(&self, matrix: [usize; 3]) -> [[f64; 4]; 4] {
        let mut affine = [[0.0; 4], [0.0; 4], [0.0; 4], LAST_ROW];
        for axis in 0..3 {
            let sign = if axis == 0 { -1.0 } else { 1.0 };
            affine[axis][axis] = sign * self.voxel_size_mm(axis);
            affine[axis][3] = -affine[axis][axis] * (matrix[axis] as f64 - 1.0) / 2.0;
        }
        affine
    }
}

/// An sform may hold a shear that a qform cannot, and both are rounded.
const FORMS_DIFFER_MM: f64 = 0.5;

const LAST_ROW: [f64; 4] = [0.0, 0.0, 0.0, 1.0];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A little-endian header of a 4x5x6x7 int16 file with 3 mm voxels, TR 2000 ms, no forms.
    fn header() -> [u8; HEADER_BYTES] {
        let mut bytes = [0_u8; HEADER_BYTES];
        bytes[..4].copy_from_slice(&348_i32.to_le_bytes());
        for (i, n) in [4_i16, 4, 5, 6, 7, 1, 1, 1].into_iter().enumerate() {
            bytes[40 + 2 * i..42 + 2 * i].copy_from_slice(&n.to_le_bytes());
        }
        bytes[70..72].copy_from_slice(&4_i16.to_le_bytes());
        for (i, size) in [1.0_f32, 3.0, 3.0, 3.0, 2000.0].into_iter().enumerate() {
            bytes[76 + 4 * i..80 + 4 * i].copy_from_slice(&size.to_le_bytes());
        }
        bytes[108..112].copy_from_slice(&352_f32.to_le_bytes());
        bytes[123] = 2 | 16;
        bytes[344..].copy_from_slice(b"n+1\0");
        bytes
    }

    fn first_row(header: &NiftiHeader) -> [u64; 4] {
        header.space.affine()[0].map(f64::to_bits)
    }

    #[test]
    fn milliseconds_become_seconds_and_no_unit_means_seconds() {
        assert_eq!(NiftiHeader::parse(&header()).unwrap().repetition_time_s, Some(2.0));
        assert_eq!(repetition_time_s(0.72, 8), Some(0.72));
        assert_eq!(repetition_time_s(2.5, 0), Some(2.5));
        assert_eq!(repetition_time_s(1_500_000.0, 24), Some(1.5));
        assert_eq!(repetition_time_s(0.0, 8), None);
        assert_eq!(repetition_time_s(f32::NAN, 8), None);
    }

    #[test]
    fn the_sform_comes_before_the_qform_and_both_before_voxel_sizes() {
        let mut bytes = header();
        let none = NiftiHeader::parse(&bytes).unwrap();
        assert_eq!(first_row(&none), [-3.0, 0.0, 0.0, 4.5].map(f64::to_bits));
        // The identity quaternion and an offset.
        bytes[252..254].copy_from_slice(&1_i16.to_le_bytes());
        bytes[268..272].copy_from_slice(&9_f32.to_le_bytes());
        let qform = NiftiHeader::parse(&bytes).unwrap();
        assert_eq!(first_row(&qform), [3.0, 0.0, 0.0, 9.0].map(f64::to_bits));
        bytes[254..256].copy_from_slice(&1_i16.to_le_bytes());
        for (row, at) in [280, 296, 312].into_iter().enumerate() {
            let at = at + 4 * row;
            bytes[at..at + 4].copy_from_slice(&2_f32.to_le_bytes());
        }
        assert!(none.place_warning.unwrap().contains("no sform and no qform"));
        assert_eq!(qform.place_warning, None);
        let sform = NiftiHeader::parse(&bytes).unwrap();
        assert!(sform.place_warning.as_ref().unwrap().contains("the sform is used"));
        assert_eq!(first_row(&sform), [2.0, 0.0, 0.0, 0.0].map(f64::to_bits));
    }

    #[test]
    fn nifti_2_and_pairs_are_named() {
        let mut bytes = header();
        bytes[..4].copy_from_slice(&540_i32.to_be_bytes());
        assert_eq!(NiftiHeader::parse(&bytes), Err(InvalidHeader::Nifti2));
        let mut bytes = header();
        bytes[344..].copy_from_slice(b"ni1\0");
        bytes[108..112].copy_from_slice(&0_f32.to_le_bytes());
        assert!(NiftiHeader::parse(&bytes).unwrap().is_pair);
        bytes[344..].copy_from_slice(&[0; 4]);
        assert_eq!(NiftiHeader::parse(&bytes), Err(InvalidHeader::Analyze));
        bytes[344..].copy_from_slice(b"n+9\0");
        assert!(matches!(NiftiHeader::parse(&bytes), Err(InvalidHeader::Magic(_))));
        bytes[344..].copy_from_slice(b"n+1\0");
        bytes[108..112].copy_from_slice(&352_f32.to_le_bytes());
        bytes[70..72].copy_from_slice(&128_i16.to_le_bytes());
        let message = NiftiHeader::parse(&bytes).unwrap_err().to_string();
        assert!(message.starts_with("datatype is 128 (colour, RGB)"), "{message}");
    }

    proptest! {
        /// Any header is parsed or refused; a parsed header has a size that can be allocated.
        #[test]
        fn foreign_headers_never_panic(noise in proptest::collection::vec(any::<u8>(), 348)) {
            let mut bytes: [u8; HEADER_BYTES] = noise.clone().try_into().unwrap();
            prop_assert!(NiftiHeader::parse(&bytes).is_err() || bytes[0] == 92);
            // A plausible start lets the parser reach the other fields.
            bytes[..4].copy_from_slice(&348_i32.to_le_bytes());
            bytes[40..48].copy_from_slice(&header()[40..48]);
            bytes[344..].copy_from_slice(b"n+1\0");
            if let Ok(header) = NiftiHeader::parse(&bytes) {
                prop_assert!(header.volume_bytes() <= 1 << 29);
            }
        }
    }
}
