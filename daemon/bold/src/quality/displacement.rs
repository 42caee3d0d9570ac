//! Framewise displacement (FD): how far the head moved since the previous volume.
//!
//! `FD = Σ|Δ translation| + 50 mm · Σ|Δ rotation|` (Power et al. 2012, NeuroImage 59:2142), the
//! rotations in radians: an arc on a sphere of about the size of a head. Power's paper takes
//! absolute values and sums them; so does `FramewiseDisplacement` of nipype.
//!
//! Translations depend on the point that rotations turn about. [`Motion`] turns about the world
//! origin, which can be far from the head if the table is far from the isocentre: 1° then moves
//! the head by 17 mm per metre, and a sum of these translations would count a mere rotation as a
//! large motion. FD here takes the translation of the *centre of the volume*, about
//! which AFNI's `3dvolreg` turns; then the table's position does not matter. SPM's `rp_*` files turn
//! about the world origin; convert their translations with [`translation_about`] before a
//! comparison.
//!
//! The first volume, and one after a gap, have no FD. nipype leaves the first out too; fMRIPrep
//! writes `n/a`.

use crate::{
    space::VoxelSpace,
    state::{Loader, Saver},
    time::TrIndex,
    volume::Motion,
};

/// Radius of the sphere on which rotations count as mm (Power et al. 2012).
pub const SPHERE_MM: f64 = 50.0;

/// Computes FD of consecutive volumes.
#[derive(Clone, Debug)]
pub struct Displacement {
    centre_mm: [f64; 3],
    before: Option<(TrIndex, [f64; 6])>,
}

impl Displacement {
    /// For volumes with their centre here, RAS+ mm.
    #[must_use]
    pub fn new(centre_mm: [f64; 3]) -> Self {
        Self { centre_mm, before: None }
    }

    /// Forgets the previous run. `centre_mm`: centre of the new run's volumes, RAS+ mm.
    pub fn start_run(&mut self, centre_mm: [f64; 3]) {
        *self = Self::new(centre_mm);
    }

    /// FD of this volume, in mm. `None` for the first volume and after a gap.
    pub fn measure(&mut self, tr: TrIndex, motion: &Motion) -> Option<f64> {
        let [x, y, z] = translation_about(motion, self.centre_mm);
        let [rot_x, rot_y, rot_z] = motion.rotation_rad.map(|rad| SPHERE_MM * rad);
        let now = [x, y, z, rot_x, rot_y, rot_z];
        let (last, before) = self.before.replace((tr, now))?;
        (last.next() == tr).then(|| before.iter().zip(now).map(|(a, b)| (b - a).abs()).sum())
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.f64s(&self.centre_mm);
        to.index(self.before.map(|(tr, _)| tr));
        to.f64s(&self.before.unwrap_or_default().1);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.centre_mm = from.f64s()?.try_into().ok()?;
        let (tr, before) = (from.index()?, from.f64s()?.try_into().ok()?);
        self.before = tr.map(|tr| (tr, before));
        Some(())
    }
}

/// Centre of a volume, RAS+ mm.
#[must_use]
pub fn centre_mm(space: &VoxelSpace) -> [f64; 3] {
    space.position_mm(space.matrix().map(|n| (n as f64 - 1.0) / 2.0))
}

/// How far a motion takes this point (RAS+ mm): its translation if it turned about the point
/// instead of the world origin, in mm. `R·c + t - c` with `R = Rx·Ry·Rz`.
#[must_use]
pub fn translation_about(motion: &Motion, point_mm: [f64; 3]) -> [f64; 3] {
    let [x, y, z] = motion.rotation_rad;
    let turn = |(a, b): (f64, f64), angle: f64| {
        let (sin, cos) = libm::sincos(angle);
        (cos * a - sin * b, sin * a + cos * b)
    };
    let [px, py, pz] = point_mm;
    let (px, py) = turn((px, py), z);
    let (pz, px) = turn((pz, px), y);
    let (py, pz) = turn((py, pz), x);
    let moved = [px, py, pz];
    std::array::from_fn(|axis| moved[axis] + motion.translation_mm[axis] - point_mm[axis])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn motion(translation_mm: [f64; 3], rotation_rad: [f64; 3]) -> Motion {
        Motion { translation_mm, rotation_rad }
    }

    #[test]
    fn one_millimetre_and_a_fiftieth_of_a_radian_give_two() {
        let mut fd = Displacement::new([0.0; 3]);
        assert_eq!(fd.measure(TrIndex(0), &Motion::default()), None, "the first volume");
        let found = fd.measure(TrIndex(1), &motion([0.5, -0.5, 0.0], [0.0, 0.0, -0.02])).unwrap();
        assert!((found - 2.0).abs() < 1e-12, "{found}");
        assert_eq!(fd.measure(TrIndex(3), &Motion::default()), None, "after a gap");
    }

    /// `FramewiseDisplacement` of nipype 1.11 (`parameter_source="SPM"`) gives 0.75 and 0.6.
    #[test]
    fn fd_is_nipypes() {
        let rows = [
            motion([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            motion([0.1, -0.2, 0.3], [0.001, 0.0, -0.002]),
            motion([0.0, -0.2, 0.5], [0.001, 0.004, 0.0]),
        ];
        let mut fd = Displacement::new([0.0; 3]);
        let found: Vec<f64> =
            (0..).zip(&rows).filter_map(|(tr, row)| fd.measure(TrIndex(tr), row)).collect();
        let expected = [0.75, 0.6];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn rotations_are_applied_as_rx_ry_rz_in_ras() {
        let quarter = std::f64::consts::FRAC_PI_2;
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        // About z, x goes to y; about x, y goes to z; about y, z goes to x.
        let at = |rotation, point| {
            let way = translation_about(&motion([0.0; 3], rotation), point);
            std::array::from_fn(|i| way[i] + point[i])
        };
        assert!(close(at([0.0, 0.0, quarter], [1.0, 0.0, 0.0]), [0.0, 1.0, 0.0]));
        assert!(close(at([quarter, 0.0, 0.0], [0.0, 1.0, 0.0]), [0.0, 0.0, 1.0]));
        assert!(close(at([0.0, quarter, 0.0], [0.0, 0.0, 1.0]), [1.0, 0.0, 0.0]));
        // Rz first, Rx last.
        assert!(close(at([quarter, 0.0, quarter], [1.0, 0.0, 0.0]), [0.0, 0.0, 1.0]));
    }

    proptest! {
        /// The same motion of the head has the same FD wherever the table is: a head that turns
        /// about its own centre only.
        #[test]
        fn fd_does_not_depend_on_the_table(
            table in proptest::array::uniform3(-1000.0..1000.0_f64),
            rotations in proptest::collection::vec(proptest::array::uniform3(-0.05..0.05_f64), 2..8),
        ) {
            let mut fd = Displacement::new(table);
            let mut before = None;
            for (tr, &rotation) in (0..).zip(&rotations) {
                // In world coordinates the table's position adds a translation.
                let way = translation_about(&motion([0.0; 3], rotation), table);
                let found = fd.measure(TrIndex(tr), &motion(way.map(|mm| -mm), rotation));
                let expected = before.replace(rotation).map(|before| {
                    before.iter().zip(rotation).map(|(a, b): (&f64, f64)| 50.0 * (a - b).abs()).sum::<f64>()
                });
                match (found, expected) {
                    (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-9, "{a} {b}"),
                    (a, b) => prop_assert_eq!(a, b),
                }
            }
        }

        #[test]
        fn a_checkpoint_changes_nothing(
            moved in proptest::collection::vec(proptest::array::uniform3(-1.0..1.0_f64), 2..8),
            cut in 0_usize..8,
        ) {
            let mut fd = Displacement::new([1.0, 2.0, 3.0]);
            let mut restored = fd.clone();
            for (tr, &mm) in (0..).zip(&moved) {
                if tr as usize == cut {
                    let mut saver = Saver::default();
                    fd.save(&mut saver);
                    restored = Displacement::new([0.0; 3]);
                    prop_assert_eq!(restored.load(&mut Loader::new(&saver.finish())), Some(()));
                }
                let motion = motion(mm, mm);
                prop_assert_eq!(
                    fd.measure(TrIndex(tr), &motion), restored.measure(TrIndex(tr), &motion)
                );
            }
        }
    }
}
