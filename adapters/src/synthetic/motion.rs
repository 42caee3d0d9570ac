//! Motion of the head: a rigid shift of the volume along straight lines between random places.

use corticast_bold::time::TrIndex;

use super::rng::Rng;

/// Random stream derived from the run's seed.
const MOTION: u64 = 4 << 40;
/// Volumes between two positions of the head. The head moves evenly from one to the next.
const MOTION_KNOT: u32 = 20;

/// Displacement of the head in voxels along x, y, z. It starts at 0 and follows straight lines
/// between random places that are at most `motion_mm` away along each axis.
pub(super) fn displacement_voxels(
    seed: u64,
    motion_mm: f64,
    size_mm: [f64; 3],
    tr: TrIndex,
) -> [f32; 3] {
    let (knot, rest) = (tr.0 / MOTION_KNOT, tr.0 % MOTION_KNOT);
    let place = |knot: u32, axis: u64| {
        let mut rng = Rng::new(seed, MOTION + 3 * u64::from(knot) + axis);
        if knot == 0 { 0.0 } else { motion_mm * (2.0 * rng.uniform() - 1.0) }
    };
    let share = f64::from(rest) / f64::from(MOTION_KNOT);
    std::array::from_fn(|axis| {
        let (from, to) = (place(knot, axis as u64), place(knot + 1, axis as u64));
        ((from + (to - from) * share) / size_mm[axis]) as f32
    })
}

/// A volume moved by `by` voxels, with trilinear interpolation; voxels from outside repeat the
/// edge.
pub(super) fn shifted(signal: &[f32], [nx, ny, nz]: [usize; 3], by: [f32; 3]) -> Vec<f32> {
    let axis = |n: usize, by: f32| -> Vec<(usize, usize, f32)> {
        (0..n)
            .map(|i| {
                let from = (i as f32 - by).clamp(0.0, (n - 1) as f32);
                let below = from as usize;
                (below, (below + 1).min(n - 1), from - below as f32)
            })
            .collect()
    };
    let (xs, ys, zs) = (axis(nx, by[0]), axis(ny, by[1]), axis(nz, by[2]));
    let at = |x: usize, y: usize, z: usize| signal[(x * ny + y) * nz + z];
    let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
    let mut moved = Vec::with_capacity(signal.len());
    for &(x0, x1, fx) in &xs {
        for &(y0, y1, fy) in &ys {
            for &(z0, z1, fz) in &zs {
                let line = |x, y| mix(at(x, y, z0), at(x, y, z1), fz);
                let plane = |x| mix(line(x, y0), line(x, y1), fy);
                moved.push(mix(plane(x0), plane(x1), fx));
            }
        }
    }
    moved
}
