//! Stages on their own, in this process: stored bytes to masked signal beside the code it replaced,
//! and normalisation. Of the same chapter are `motion.rs` (realign and smooth) and `noise.rs` (the
//! prior's).

use std::hint::black_box;

use anyhow::Context;
use corticast::clock::monotonic_ns;
use corticast_bold::{
    decode::{Dtype, Order, StoredVolume},
    normalise::{FrozenMean, Mode, Normalise, NormaliseOptions},
    space::VoxelSpace,
    spatial_mask::SpatialMask,
    stage::Stage,
    time::TrIndex,
    volume::{Confounds, MadeFrom, MaskedVolume},
};
use ndarray::Array3;

use crate::{
    Chapter, Figure, motion, noise,
    numbers::{COLUMNS, Samples, median},
    scan::Scan,
};

/// Voxels along x, y, z.
const MATRIX: [usize; 3] = [110, 110, 72];
/// Voxels of the mask.
const N_VOXEL: usize = 20_000;
/// Volumes that are used in turn, as each volume of a scan is in a buffer of its own.
const VOLUMES: usize = 8;
/// Rounds; in each, every variant processes every volume.
const ROUNDS: usize = 50;
pub async fn measure() -> anyhow::Result<Chapter> {
    let mut chapter = Chapter { text: "## Stages on their own\n".to_owned(), ..Chapter::default() };
    mask(&mut chapter)?;
    normalise(&mut chapter)?;
    motion::measure(&mut chapter)?;
    noise::measure(&mut chapter).await;
    Ok(chapter)
}

/// The work as it was before: converts the whole volume, then picks voxels in runs along z, tile by
/// tile of 16 x 8 voxels along x and z.
struct Before {
    /// First output, number of voxels, offset of the first voxel in C order and in F order.
    runs: Vec<[usize; 4]>,
}

impl Before {
    fn new(voxels: &[[usize; 3]]) -> Self {
        let [nx, ny, nz] = MATRIX;
        let mut runs: Vec<([usize; 4], [usize; 4])> = Vec::new();
        for (output, &[x, y, z]) in voxels.iter().enumerate() {
            let (c, f) = ((x * ny + y) * nz + z, x + nx * (y + ny * z));
            let place = [x / 16, z / 8, y, x];
            match runs.last_mut() {
                Some((last, run)) if *last == place && run[2] + run[1] == c => run[1] += 1,
                _ => runs.push((place, [output, 1, c, f])),
            }
        }
        runs.sort_unstable();
        Self { runs: runs.into_iter().map(|(_, run)| run).collect() }
    }

    fn of(&self, volume: &StoredVolume<'_>) -> anyhow::Result<Vec<f32>> {
        let signal = black_box(volume.signal()?);
        let slice = MATRIX[0] * MATRIX[1];
        let mut bold = vec![0.0; N_VOXEL];
        for &[output, length, c, f] in &self.runs {
            let outputs = &mut bold[output..output + length];
            match volume.order {
                Order::C => outputs.copy_from_slice(&signal[c..c + length]),
                Order::F => {
                    let mut at = f;
                    for output in outputs {
                        *output = signal[at];
                        at += slice;
                    }
                }
            }
        }
        anyhow::ensure!(bold.iter().fold(true, |all, value| all & value.is_finite()));
        Ok(bold)
    }
}

/// A shell like a cortex, in the model's order.
fn shell() -> Vec<[usize; 3]> {
    let [nx, ny, nz] = MATRIX;
    let mut at: Vec<(f64, [usize; 3])> = Vec::new();
    for x in 0..nx {
        for y in 0..ny {
            for z in 0..nz {
                let of = |i: usize, n: usize| ((i as f64 + 0.5) / n as f64 - 0.5) / 0.42;
                let radius = of(x, nx).powi(2) + of(y, ny).powi(2) + of(z, nz).powi(2);
                at.push(((radius.sqrt() - 0.85).abs(), [x, y, z]));
            }
        }
    }
    at.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut voxels: Vec<_> = at[..N_VOXEL].iter().map(|(_, voxel)| *voxel).collect();
    voxels.sort_unstable();
    voxels
}

fn mask(chapter: &mut Chapter) -> anyhow::Result<()> {
    let voxels = shell();
    let affine = [[2., 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
    let space = VoxelSpace::new(MATRIX, affine)?;
    let [nx, ny, nz] = MATRIX;
    let before = Before::new(&voxels);
    let mut image = Array3::zeros(MATRIX);
    voxels.iter().for_each(|&voxel| image[voxel] = 1.0);
    let mut now = SpatialMask::from_image(space, image.view())?;
    let mut scan = Scan::new(MATRIX, 7);
    let scans: Vec<Vec<u8>> = (0..VOLUMES).map(|_| scan.volume()).collect();
    let copied = copy_ms(&scans);
    let gb_s = scans[0].len() as f64 / copied.median_ms() / 1e6;
    chapter.text += &format!(
        "\n### Stored bytes to masked signal\n\nint16, {nx}x{ny}x{nz} ({} bytes), a shell of \
         {N_VOXEL} voxels, {VOLUMES} volumes in turn. *Before* is the code of 50abf5a: it converts \
         the whole volume to float32 and then gathers the mask. *Now* gathers from the stored \
         bytes. Both in pairs, {} of them. The floor is the time to copy the bytes that must be \
         read, the cache lines of 64 bytes that hold the mask's voxels, at the {gb_s:.1} GB/s of a \
         copy of the volume.\n\n| order | | {COLUMNS} | bytes read | floor, ms |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        scans[0].len(),
        ROUNDS * VOLUMES,
    );
    for order in [Order::F, Order::C] {
        let stored = |voxels| StoredVolume {
            tr: TrIndex(0),
            acquisition_time_s: 0.0,
            matrix: MATRIX,
            dtype: Dtype::Int16,
            order,
            slope: None,
            intercept: None,
            voxels,
        };
        let (mut old, mut new, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for scan in &scans {
                let volume = black_box(stored(scan));
                let started_ns = monotonic_ns();
                let expected = black_box(before.of(&volume)?);
                let between_ns = monotonic_ns();
                let found = black_box(now.process(volume)?).context("a masked volume")?;
                let ended_ns = monotonic_ns();
                anyhow::ensure!(found.bold.iter().eq(&expected), "before and now must agree");
                old.push(between_ns - started_ns);
                new.push(ended_ns - between_ns);
                ratios.push((between_ns - started_ns) as f64 / (ended_ns - between_ns) as f64);
            }
        }
        let mut lines: Vec<usize> = voxels
            .iter()
            .map(|&[x, y, z]| match order {
                Order::C => (x * ny + y) * nz + z,
                Order::F => x + nx * (y + ny * z),
            })
            .map(|voxel| 2 * voxel / 64)
            .collect();
        lines.sort_unstable();
        lines.dedup();
        let read = 64 * lines.len();
        let floor_ms = read as f64 / gb_s / 1e6;
        let (old, new) = (Samples::new(old), Samples::new(new));
        let n_all: usize = MATRIX.iter().product();
        chapter.text += &format!(
            "| {order:?} | before | {} | {}, and {} written and read again | |\n| | now | {} | {read} | {floor_ms:.3} |\n",
            old.row(),
            2 * n_all,
            4 * n_all,
            new.row()
        );
        let ratio = median(&ratios);
        chapter.figures.push(Figure {
            what: format!("stored bytes → masked signal, int16 {nx}x{ny}x{nz}, {N_VOXEL} voxels, {order:?} order"),
            asked: "≥ 4 times faster than 50abf5a".to_owned(),
            measured: format!("{:.3} ms, {ratio:.1} times (before: {:.3} ms)", new.median_ms(), old.median_ms()),
            floor: format!("{floor_ms:.3} ms: to copy the {read} bytes that hold the voxels"),
            is_met: Some(ratio >= 4.0),
        });
    }
    Ok(())
}

/// Copying one of the volumes.
fn copy_ms(scans: &[Vec<u8>]) -> Samples {
    let mut place = vec![0_u8; scans[0].len()];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for scan in scans {
            let started_ns = monotonic_ns();
            place.copy_from_slice(black_box(scan));
            black_box(&mut place);
            times.push(monotonic_ns() - started_ns);
        }
    }
    Samples::new(times)
}

fn normalise(chapter: &mut Chapter) -> anyhow::Result<()> {
    const VOXELS: usize = 131_072;
    let options = NormaliseOptions {
        across_voxels: false,
        mode: Mode::Growing,
        warm_up_volumes: 6,
        baseline_volumes: 0,
        frozen_mean: FrozenMean::Growing,
        statistics: None,
    };
    let mut stage = Normalise::new(options, VOXELS)?;
    let mut scan = Scan::new([64, 64, 32], 3);
    let mut times = Vec::new();
    for index in 0..300 {
        let volume = scan.volume();
        let values = volume.as_chunks::<2>().0.iter().map(|v| f32::from(i16::from_le_bytes(*v)));
        let volume = MaskedVolume {
            tr: TrIndex(index),
            acquisition_time_s: 0.0,
            bold: values.collect(),
            made_from: MadeFrom::Measured,
            confounds: Confounds::default(),
        };
        let started_ns = monotonic_ns();
        black_box(stage.process(volume)?);
        times.push(monotonic_ns() - started_ns);
    }
    let times = Samples::new(times);
    chapter.text += &format!(
        "\n### Normalise, `growing`\n\n131,072 voxels: {:.3} ms (p50 of {}; p99 {:.3} ms). For each \
         voxel a division and a square root in f32; 20 bytes are read and 20 written.\n",
        times.median_ms(),
        times.len(),
        times.p99_ms()
    );
    chapter.figures.push(Figure {
        what: "normalise `growing`, 131,072 voxels".to_owned(),
        asked: "≤ 0.3 ms".to_owned(),
        measured: format!("p50 {:.3} ms, p99 {:.3} ms", times.median_ms(), times.p99_ms()),
        floor: "–".to_owned(),
        is_met: Some(times.median_ms() <= 0.3),
    });
    Ok(())
}
