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

use corticast_bold::space::{MAX_AXIS_VOXELS, VoxelSpace};

use super::{
    attributes::missing,
    error::DicomError,
    geometry::{self, Plane},
};

/// Arrangement of the slices in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Voxels along x, y, z of the volume.
    pub matrix: [usize; 3],
    /// Tiles per row of the picture.
    k: usize,
    /// Tiles per column.
    k_rows: usize,
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
        Ok(Self { matrix: [columns / k, rows / k, n_slice], k, k_rows: k })
    }

    /// The tiling of a grid of `k` x `k_rows` tiles that holds `n_slice` slices.
    ///
    /// # Errors
    ///
    /// Fails when the picture cannot be divided into that many tiles, or has too few.
    pub fn grid(
        [columns, rows]: [usize; 2],
        [k, k_rows]: [usize; 2],
        n_slice: usize,
    ) -> Result<Self, DicomError> {
        let fits = |pixels: usize, tiles: usize| tiles > 0 && pixels.is_multiple_of(tiles);
        if !fits(columns, k) || !fits(rows, k_rows) || !(1..=k * k_rows).contains(&n_slice) {
            return Err(DicomError::Attribute {
                name: "the grid of slices",
                reason: format!("of {n_slice} slices does not tile {columns} x {rows} pixels"),
            });
        }
        Ok(Self { matrix: [columns / k, rows / k_rows, n_slice], k, k_rows })
    }

    /// The volume's pixels, x fastest, from the picture's pixels of `pixel_bytes` each.
    ///
    /// # Errors
    ///
    /// Fails when the picture holds too few bytes.
    pub fn unmosaic(&self, picture: &[u8], pixel_bytes: usize) -> Result<Vec<u8>, DicomError> {
        let [nx, ny, nz] = self.matrix;
        let (tile_row, picture_row) = (nx * pixel_bytes, nx * self.k * pixel_bytes);
        let expected = picture_row * ny * self.k_rows;
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
        Ok(voxels)
    }

    /// The space of the volume, in RAS+ axes.
    ///
    /// # Errors
    ///
    /// Fails when the placement is flat or not finite.
    pub fn space(&self, picture: &Plane, slice_normal: [f64; 3]) -> Result<VoxelSpace, DicomError> {
        let [nx, ny, _] = self.matrix;
        let beyond = [nx, ny].map(|n| (n * self.k - n) as f64 / 2.0);
        let corner = std::array::from_fn(|row| {
            let step = |axis: usize| picture.orientation[axis][row] * picture.pixel_mm[axis];
            picture.position_mm[row] + step(0) * beyond[0] + step(1) * beyond[1]
        });
        let Some(slice_mm) = picture.slice_mm else { return Err(missing("SliceThickness")) };
        let first = Plane { position_mm: corner, ..*picture };
        geometry::space(self.matrix, &first, slice_normal.map(|normal| normal * slice_mm))
    }
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
        let voxels = tiling.unmosaic(&picture, 2).unwrap();
        let expected: Vec<u8> =
            [0_u16, 1, 10, 11, 20, 21].into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(voxels, expected);
        assert!(tiling.unmosaic(&picture[..15], 2).is_err());
    }

    #[test]
    fn the_corner_of_the_picture_is_not_the_corner_of_the_slice() {
        // 3 x 3 tiles of 4 x 4 voxels of 2 mm: the picture is 8 voxels wider, half is 4, 8 mm.
        let tiling = Tiling::new(12, 12, 9).unwrap();
        let picture = Plane {
            position_mm: [-20.0, -10.0, 5.0],
            orientation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            pixel_mm: [2.0, 2.0],
            slice_mm: Some(3.0),
        };
        let space = tiling.space(&picture, [0.0, 0.0, 1.0]).unwrap();
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
