//! Motion correction and smoothing of whole volumes: what the signal thread spends on them.

use std::hint::black_box;

use anyhow::Context;
use corticast::clock::monotonic_ns;
use corticast_bold::{
    realign::{Fit, Realign, RealignOptions, reslice::Reslice},
    smooth::Smooth,
    space::VoxelSpace,
    stage::Stage,
    time::TrIndex,
    volume::{Motion, Volume},
};

use crate::{
    Chapter, Figure,
    numbers::{COLUMNS, Samples},
};

/// Voxels along x, y, z: the matrix for which python-rtspm and AFNI were timed.
const MATRIX: [usize; 3] = [74, 74, 36];
/// Edge of a voxel.
const VOXEL_MM: f64 = 3.0;
const VOLUMES: u32 = 60;
/// Times that the run is repeated.
const ROUNDS: usize = 5;
const FWHM_MM: f64 = 6.0;
/// Time of python-rtspm for the same work, on a quiet machine.
const RTSPM_MS: f64 = 117.0;

/// Operations on each voxel. Estimate: the Gaussian of 5 mm (9 taps) and the recursion for
/// coefficients of degree 2 (5), along three axes. Reslice: the recursions for degree 4 (9) along
/// three axes, and sums over 5³, 5² and 5 coefficients. Smooth: 7 taps along three axes.
const ESTIMATE_FLOP: usize = 3 * (2 * 9 + 5);
const RESLICE_FLOP: usize = 3 * 9 + 2 * (125 + 25 + 5);
const SMOOTH_FLOP: usize = 3 * 2 * 7;
/// Operations of one step of the estimate: 27,000 points, sums over 3³, 3² and 3 coefficients, and
/// 9 sums for the equations.
const STEP_FLOP: usize = 27_000 * 2 * (27 + 9 + 3 + 9 + 9);
/// Steps of a volume that hardly moved.
const STEPS: usize = 3;

/// Measures it and adds it to the chapter of the stages.
pub fn measure(chapter: &mut Chapter) -> anyhow::Result<()> {
    let middle = MATRIX.map(|n| VOXEL_MM * (n - 1) as f64 / 2.0);
    let row = |axis: usize| {
        let mut row = [0.0, 0.0, 0.0, -middle[axis]];
        row[axis] = VOXEL_MM;
        row
    };
    let space = VoxelSpace::new(MATRIX, [row(0), row(1), row(2), [0., 0., 0., 1.]])?;
    let volumes: Vec<Volume> = (0..VOLUMES).map(|tr| volume(tr, &space)).collect();
    let mut realign = Realign::new(RealignOptions::default(), &space, None)?;
    let (mut reslice, mut smooth) = (Reslice::new(&space)?, Smooth::new(FWHM_MM, &space)?);
    let [mut whole, mut resliced, mut smoothed, mut both, mut first] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        realign.start_run();
        for volume in &volumes {
            let (volume, mut again) = (black_box(volume.clone()), volume.signal.clone());
            let started_ns = monotonic_ns();
            let found = realign.process(volume)?.context("a realigned volume")?;
            let between_ns = monotonic_ns();
            black_box(smooth.process(black_box(found.volume))?);
            let ended_ns = monotonic_ns();
            reslice.apply(&mut again, &found.motion);
            black_box(&mut again);
            anyhow::ensure!(found.fit == Fit::Converged, "the estimate must converge");
            if found.motion == Motion::default() {
                first.push(between_ns - started_ns);
                continue;
            }
            resliced.push(monotonic_ns() - ended_ns);
            whole.push(between_ns - started_ns);
            smoothed.push(ended_ns - between_ns);
            both.push(ended_ns - started_ns);
        }
    }
    let n_voxel: usize = MATRIX.iter().product();
    let estimate_flop = n_voxel * ESTIMATE_FLOP + STEPS * STEP_FLOP;
    let (reslice_flop, smooth_flop) = (n_voxel * RESLICE_FLOP, n_voxel * SMOOTH_FLOP);
    let rate = flop_per_ms();
    let [nx, ny, nz] = MATRIX;
    chapter.text += &format!(
        "\n### Realign and smooth\n\n{nx}x{ny}x{nz}, float32, a head that moves by up to 2 mm and \
         1°, {VOLUMES} volumes, {ROUNDS} times. *Realign* is the estimate and *reslice*; smoothing \
         is {FWHM_MM} mm. The floor is the time of the operations alone at the {:.1} GFLOP/s that \
         a loop of vector multiplications and additions reaches here; reading and writing the \
         volume, {:.1} MB, takes less.\n\n| | {COLUMNS} | MFLOP | floor, ms |\n\
         |---|---|---|---|---|---|---|---|\n",
        rate / 1e6,
        8.0 * n_voxel as f64 / 1e6,
    );
    let both = Samples::new(both);
    let all_flop = estimate_flop + reslice_flop + smooth_flop;
    for (name, samples, flop) in [
        ("realign", &Samples::new(whole), estimate_flop + reslice_flop),
        ("of it reslice", &Samples::new(resliced), reslice_flop),
        ("smooth", &Samples::new(smoothed), smooth_flop),
        ("realign and smooth", &both, all_flop),
        ("first volume, which becomes the reference", &Samples::new(first), 0),
    ] {
        let floor = if flop == 0 {
            "– | –".to_owned()
        } else {
            format!("{:.0} | {:.1}", flop as f64 / 1e6, flop as f64 / rate)
        };
        chapter.text += &format!("| {name} | {} | {floor} |\n", samples.row());
    }
    let (median_ms, p99_ms) = (both.median_ms(), both.p99_ms());
    chapter.figures.push(Figure {
        what: format!("realign, reslice and smooth, {nx}x{ny}x{nz}, one core"),
        asked: format!("≤ {:.0} ms (a third of python-rtspm), p99 ≤ 1.5 times p50", RTSPM_MS / 3.0),
        measured: format!("p50 {median_ms:.1} ms, p99 {p99_ms:.1} ms"),
        floor: format!("{:.1} ms: {:.0} MFLOP", all_flop as f64 / rate, all_flop as f64 / 1e6),
        is_met: Some(median_ms <= RTSPM_MS / 3.0 && p99_ms <= 1.5 * median_ms),
    });
    Ok(())
}

/// An ellipsoid with structures inside, which wanders, with noise of 2 %.
fn volume(tr: u32, space: &VoxelSpace) -> Volume {
    let along = |period: f64| (f64::from(tr) / period).sin();
    let motion = Motion {
        translation_mm: [2.0 * along(11.0), 2.0 * along(7.0), 2.0 * along(17.0)],
        rotation_rad: [along(5.0), along(9.0), along(13.0)].map(|turn| turn.to_radians()),
    };
    let to_reference = motion.matrix();
    let [nx, ny, nz] = MATRIX;
    let mut state = u64::from(tr).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let signal = (0..nx * ny * nz).map(|index| {
        let voxel = [index % nx, index / nx % ny, index / (nx * ny)].map(|v| v as f64);
        let [px, py, pz] = space.position_mm(voxel);
        let [x, y, z]: [f64; 3] = std::array::from_fn(|axis| {
            let [a, b, c, d] = to_reference[axis];
            a * px + b * py + c * pz + d
        });
        let radius = (x * x + y * y / 1.4 + z * z * 1.8).sqrt();
        let inside = 1.0 / (1.0 + ((radius - 65.0) / 2.5).exp());
        let folds = (x / 5.0).sin() * (y / 6.0).cos() + (z / 5.0 + x / 12.0).sin();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The sum of four numbers of 0..32 has a standard deviation of 18.5.
        let noise: u64 = (0..4).map(|i| state >> (16 * i) & 31).sum();
        (inside * (900.0 + 200.0 * folds) + noise as f64) as f32
    });
    let signal = signal.collect();
    Volume { tr: TrIndex(tr), acquisition_time_s: f64::from(tr), matrix: MATRIX, signal }
}

/// Multiplications and additions of vectors that this machine does in a ms, best of five.
fn flop_per_ms() -> f64 {
    const TIMES: usize = 2_000_000;
    const LANES: usize = 40;
    let mut sums = [1.0_f32; LANES];
    let (factor, term) = (black_box(0.999_f32), black_box(0.001_f32));
    let fastest_ns = (0..5).map(|_| {
        let started_ns = monotonic_ns();
        for _ in 0..TIMES {
            sums.iter_mut().for_each(|sum| *sum = *sum * factor + term);
        }
        black_box(&mut sums);
        monotonic_ns() - started_ns
    });
    (2 * TIMES * LANES) as f64 / (fastest_ns.min().unwrap_or(1) as f64 / 1e6)
}
