//! Siemens mosaics: the slices of a volume, side by side in one picture.
//!
//! ```text
//! picture            k = ceil(sqrt(n_slice)) tiles per row, blank after the last slice
//! ┌───┬───┐
//! │ 0 │ 1 │          slice z is tile (z mod k, z div k)
//! ├───┼───┤
//! │ 2 │   │
//! └───┴───┘
//! ```
//!
//! The position in the header is wrong by design: the scanner writes the corner of the *picture*
//! as if it were one large slice around the same centre. Half the difference in size between
//! picture and slice has to be added, or every mask is centimetres off.

use bytes::Bytes;
use corticast_bold::space::{MAX_AXIS_VOXELS, VoxelSpace};

use super::error::DicomError;

/// Bytes of one stored voxel; other sizes are refused earlier.
pub const VOXEL_BYTES: usize = 2;

/// Arrangement of the slices in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Voxels along x, y, z of the volume.
    pub matrix: [usize; 3],
    /// Tiles per row of the picture.
    k: usize,
}

/// Position of the picture according to the header, in LPS axes (left, posterior, superior).
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Centre of the picture's first pixel, in mm.
    pub position_mm: [f64; 3],
    /// Direction along a row (x), then along a column (y).
    pub orientation: [[f64; 3]; 2],
    /// Size of a pixel along x, then along y, in mm.
    pub pixel_mm: [f64; 2],
    /// Direction from slice 0 to slice 1.
    pub slice_normal: [f64; 3],
    /// Distance between the centres of slices, in mm.
    pub slice_mm: f64,
}

impl Tiling {
    /// The tiling of a picture of `columns` x `rows` pixels that holds `n_slice` slices.
    ///
    /// # Errors
    ///
    /// Fails when the picture cannot be divided into that many tiles.
    pub fn new(columns: usize, rows: usize, n_slice: usize) -> Result<Self, DicomError> {
        let k = (1..=MAX_AXIS_VOXELS).find(|k| k * k >= n_slice).unwrap_or(MAX_AXIS_VOXELS);
        let slices_fit = (1..=MAX_AXIS_VOXELS).contains(&n_slice);
        let cut = |pixels: usize| pixels > 0 && pixels.is_multiple_of(k);
        if !slices_fit || !cut(columns) || !cut(rows) {
            return Err(DicomError::Attribute {
                name: "NumberOfImagesInMosaic",
                reason: format!("is {n_slice}, which does not tile {columns} x {rows} pixels"),
            });
        }
        Ok(Self { matrix: [columns / k, rows / k, n_slice], k })
    }

    /// The volume's voxels, x fastest, from the picture's pixels.
    ///
    /// # Errors
    ///
    /// Fails when the picture holds too few bytes.
    pub fn unmosaic(&self, picture: &[u8]) -> Result<Bytes, DicomError> {
        let [nx, ny, nz] = self.matrix;
        let (tile_row, picture_row) = (nx * VOXEL_BYTES, nx * self.k * VOXEL_BYTES);
        let expected = picture_row * ny * self.k;
        let found = picture.len();
        let picture = picture.get(..expected).ok_or_else(|| DicomError::Attribute {
            name: "PixelData",
            reason: format!("holds {found} bytes, expected {expected}"),
        })?;
        let mut voxels = Vec::with_capacity(tile_row * ny * nz);
        for z in 0..nz {
            let corner = z / self.k * ny * picture_row + z % self.k * tile_row;
            for y in 0..ny {
                let start = corner + y * picture_row;
                voxels.extend_from_slice(&picture[start..start + tile_row]);
            }
        }
        Ok(voxels.into())
    }

    /// The space of the volume, in RAS+ axes.
    ///
    /// # Errors
    ///
    /// Fails when the placement is flat or not finite.
    pub fn space(&self, placement: &Placement) -> Result<VoxelSpace, DicomError> {
        let Placement { position_mm, orientation, pixel_mm, slice_normal, slice_mm } = *placement;
        let [nx, ny, _] = self.matrix;
        let beyond = [nx, ny].map(|n| (n * self.k - n) as f64 / 2.0);
        let mut affine = [[0.0; 4]; 4];
        affine[3][3] = 1.0;
        for row in 0..3 {
            // LPS → RAS: left becomes minus right, posterior becomes minus anterior.
            let sign = if row < 2 { -1.0 } else { 1.0 };
            let steps = [0, 1].map(|axis| orientation[axis][row] * pixel_mm[axis]);
            let corner = position_mm[row] + steps[0] * beyond[0] + steps[1] * beyond[1];
            affine[row] = [steps[0], steps[1], slice_normal[row] * slice_mm, corner]
                .map(|value| sign * value + 0.0); // + 0.0: no minus zero in a record
        }
        VoxelSpace::new(self.matrix, affine).map_err(|error| DicomError::Attribute {
            name: "position or orientation is invalid:",
            reason: error.to_string(),
        })
    }
}

/// The direction that forms a right-handed system with the two directions of a slice.
#[must_use]
pub fn cross([a, b]: [[f64; 3]; 2]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_become_slices_and_blank_tiles_are_left_out() {
        // Two by two tiles of two by one voxels; the fourth tile is blank.
        let picture: Vec<u8> =
            [0_u16, 1, 10, 11, 20, 21, 99, 99].into_iter().flat_map(u16::to_le_bytes).collect();
        let tiling = Tiling::new(4, 2, 3).unwrap();
        assert_eq!(tiling.matrix, [2, 1, 3]);
        let voxels = tiling.unmosaic(&picture).unwrap();
        let expected: Vec<u8> =
            [0_u16, 1, 10, 11, 20, 21].into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(voxels, expected);
        assert!(tiling.unmosaic(&picture[..15]).is_err());
    }

    #[test]
    fn the_corner_of_the_picture_is_not_the_corner_of_the_slice() {
        // 3 x 3 tiles of 4 x 4 voxels of 2 mm: the picture is 8 voxels wider, half is 4, 8 mm.
        let tiling = Tiling::new(12, 12, 9).unwrap();
        let placement = Placement {
            position_mm: [-20.0, -10.0, 5.0],
            orientation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            pixel_mm: [2.0, 2.0],
            slice_normal: [0.0, 0.0, 1.0],
            slice_mm: 3.0,
        };
        let space = tiling.space(&placement).unwrap();
        let expected = [[-2., 0., 0., 12.], [0., -2., 0., 2.], [0., 0., 3., 5.], [0., 0., 0., 1.]];
        assert_eq!(space, VoxelSpace::new([4, 4, 9], expected).unwrap());
    }

    #[test]
    fn slices_that_do_not_tile_the_picture_are_refused() {
        assert!(Tiling::new(384, 384, 27).is_ok());
        for (columns, rows, n_slice) in [(385, 384, 27), (384, 384, 0), (0, 0, 1), (64, 64, 5000)] {
            assert!(Tiling::new(columns, rows, n_slice).is_err(), "{columns} {rows} {n_slice}");
        }
    }
}
