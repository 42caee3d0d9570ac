//! Where slices lie: from the positions of single slices to the space of their volume.

use corticast_bold::space::VoxelSpace;

use super::{attributes::attribute, error::DicomError};

/// How far two directions may differ and still be parallel.
const SAME_DIRECTION: f64 = 1e-3;
/// How far slices may lie from even distances, as a part of the distance.
const EVEN: f64 = 0.05;
/// Slices closer than this lie at one place, in mm.
pub const SAME_PLACE_MM: f64 = 0.01;

/// Where a slice lies, in LPS axes (left, posterior, superior).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    /// Centre of the first pixel, in mm.
    pub position_mm: [f64; 3],
    /// Direction along a row (x), then along a column (y).
    pub orientation: [[f64; 3]; 2],
    /// Size of a pixel along x, then along y, in mm.
    pub pixel_mm: [f64; 2],
    /// Distance to the next slice, if the header gives it, in mm.
    pub slice_mm: Option<f64>,
}

impl Plane {
    /// Place along the direction from slice to slice, in mm.
    #[must_use]
    pub fn height_mm(&self) -> f64 {
        dot(self.position_mm, cross(self.orientation))
    }

    /// Whether both slices can belong to one volume.
    #[must_use]
    pub fn is_parallel(&self, other: &Self) -> bool {
        let directions = self.orientation.as_flattened().iter();
        directions
            .zip(other.orientation.as_flattened())
            .all(|(a, b)| (a - b).abs() < SAME_DIRECTION)
            && self.pixel_mm.iter().zip(other.pixel_mm).all(|(a, b)| (a - b).abs() < 1e-3)
    }
}

/// The order of slices along their normal, and the space of their volume.
///
/// # Errors
///
/// Fails when the slices are not parallel, not evenly spaced, or two lie at one place.
pub fn stack(
    planes: &[Plane],
    [columns, rows]: [usize; 2],
) -> Result<(Vec<usize>, VoxelSpace), DicomError> {
    let error = |reason: String| Err(attribute("ImagePositionPatient", reason));
    let Some(any) = planes.first() else { return error("gives no slice".into()) };
    if !planes.iter().all(|plane| plane.is_parallel(any)) {
        return error("gives slices of several orientations, as a localizer has".into());
    }
    let mut order: Vec<usize> = (0..planes.len()).collect();
    order.sort_by(|&a, &b| planes[a].height_mm().total_cmp(&planes[b].height_mm()));
    let first = &planes[order[0]];
    let last = &planes[order[order.len() - 1]];
    let n_step = (planes.len() - 1) as f64;
    let step = if planes.len() > 1 {
        let mean = (last.height_mm() - first.height_mm()) / n_step;
        for pair in order.windows(2) {
            let gap = planes[pair[1]].height_mm() - planes[pair[0]].height_mm();
            if mean < SAME_PLACE_MM || (gap - mean).abs() > EVEN * mean {
                return error(format!(
                    "places {} slices with a step of {gap:.3} mm among steps of {mean:.3} mm, \
                     expected even steps: one is missing or there twice",
                    planes.len()
                ));
            }
        }
        std::array::from_fn(|row| (last.position_mm[row] - first.position_mm[row]) / n_step)
    } else {
        let Some(slice_mm) = first.slice_mm else {
            return Err(super::attributes::missing("SliceThickness"));
        };
        cross(first.orientation).map(|normal| normal * slice_mm)
    };
    let space = space([columns, rows, planes.len()], first, step)?;
    Ok((order, space))
}

/// The space of a volume whose first slice and step from slice to slice are given, in RAS+ axes.
///
/// # Errors
///
/// Fails when the slices are flat or not finite.
pub fn space(matrix: [usize; 3], first: &Plane, step: [f64; 3]) -> Result<VoxelSpace, DicomError> {
    let Plane { position_mm, orientation, pixel_mm, .. } = first;
    let mut affine = [[0.0; 4]; 4];
    affine[3][3] = 1.0;
    for row in 0..3 {
        // LPS → RAS: left becomes minus right, posterior becomes minus anterior.
        let sign = if row < 2 { -1.0 } else { 1.0 };
        let steps = [0, 1].map(|axis| orientation[axis][row] * pixel_mm[axis]);
        affine[row] =
            [steps[0], steps[1], step[row], position_mm[row]].map(|value| sign * value + 0.0); // + 0.0: no minus zero in a record
    }
    VoxelSpace::new(matrix, affine).map_err(|error| DicomError::Attribute {
        name: "position or orientation is invalid:",
        reason: error.to_string(),
    })
}

/// The direction that forms a right-handed system with the two directions of a slice.
#[must_use]
pub fn cross([a, b]: [[f64; 3]; 2]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(z_mm: f64) -> Plane {
        Plane {
            position_mm: [-20.0, -10.0, z_mm],
            orientation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            pixel_mm: [2.0, 2.0],
            slice_mm: Some(3.0),
        }
    }

    #[test]
    fn slices_are_ordered_by_place_and_their_distance_is_measured() {
        let (order, space) = stack(&[plane(8.0), plane(0.0), plane(4.0)], [4, 4]).unwrap();
        assert_eq!(order, [1, 2, 0]);
        let expected = [[-2., 0., 0., 20.], [0., -2., 0., 10.], [0., 0., 4., 0.], [0., 0., 0., 1.]];
        assert_eq!(space, VoxelSpace::new([4, 4, 3], expected).unwrap());
        let (_, single) = stack(&[plane(1.0)], [4, 4]).unwrap();
        assert!((single.affine()[2][2] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn holes_copies_and_other_orientations_are_refused() {
        assert!(stack(&[plane(0.0), plane(4.0), plane(12.0)], [4, 4]).is_err());
        assert!(stack(&[plane(0.0), plane(0.0)], [4, 4]).is_err());
        let turned = Plane { orientation: [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], ..plane(4.0) };
        let message = stack(&[plane(0.0), turned], [4, 4]).unwrap_err().to_string();
        assert!(message.contains("localizer"), "{message}");
    }
}
