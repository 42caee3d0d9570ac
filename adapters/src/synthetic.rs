//! A simulated scanner: known stimuli, known responses, and known faults.
//!
//! ```text
//! signal = baseline · (1 + contrast · pattern[class] · response to the design) + drift + noise
//! ```
//!
//! Where the brain is and what each class does to its voxels depends on the pattern seed alone;
//! order of the stimuli, drift, noise, motion and faults depend on the run's seed. The same
//! seeds give the same bytes on every machine: nothing but sums, products and square roots is
//! used. Voxels are `int16` in C order.

pub mod brain;
pub mod design;
pub mod faults;
pub mod rng;
pub mod write;

use bytes::Bytes;
use clap::Parser;
use corticast_bold::{
    run::{RunEntities, RunHeader},
    time::{RepetitionTime, TrIndex},
};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError, events::Event};
use corticast_wire::message::{Dtype, Order};

use self::{
    brain::Brain,
    design::{Design, Response},
    faults::Faults,
    rng::Rng,
};
use crate::adapter::ScannerAdapter;

/// Streams of the run's seed.
const DESIGN: u64 = 1 << 40;
const FAULTS: u64 = 2 << 40;
const DRIFT: u64 = 3 << 40;
const MOTION: u64 = 4 << 40;
const NOISE: u64 = 5 << 40;
/// Volumes between two positions of the head; between them it moves evenly.
const MOTION_KNOT: u32 = 20;

/// What is simulated. `SyntheticOptions::default()` is what the command line gives without
/// flags.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct SyntheticOptions {
    /// Seed of this run: order of stimuli, drift, noise, motion, faults
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Seed of the brain: a model trained with one decodes runs with the same
    #[arg(long, default_value = "2001")]
    pub pattern_seed: u64,
    /// Voxels along x, y and z
    #[arg(long, value_name = "XxYxZ", default_value = "32x32x16", value_parser = matrix)]
    pub matrix: [usize; 3],
    /// Repetition time in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub tr: f64,
    /// Volumes of the run
    #[arg(long, value_name = "NUMBER", default_value = "240",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub volumes: u32,
    /// Classes of stimuli
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "face,house,cat,shoe"
    )]
    pub classes: Vec<String>,
    /// How stimuli follow each other
    #[arg(long, value_enum, default_value = "block")]
    pub design: Design,
    /// Size of the responses, in percent of the signal
    #[arg(long, value_name = "PERCENT", default_value = "0.6")]
    pub contrast_percent: f32,
    /// Standard deviation of the noise, in percent of the signal
    #[arg(long, value_name = "PERCENT", default_value = "1.5")]
    pub noise_percent: f32,
    /// Size of slow drifts over the run, in percent of the signal
    #[arg(long, value_name = "PERCENT", default_value = "1")]
    pub drift_percent: f32,
    /// Largest displacement of the head along each axis, in mm
    #[arg(long, value_name = "MM", default_value = "0")]
    pub motion_mm: f64,
    /// Subject label
    #[arg(long, default_value = "demo")]
    pub sub: String,
    /// Session label
    #[arg(long)]
    pub ses: Option<String>,
    /// Task label
    #[arg(long, default_value = "shapes")]
    pub task: String,
    /// Run label
    #[arg(long, default_value = "1")]
    pub run: String,
    /// Name of the session
    #[arg(long, default_value = "")]
    pub session: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the fields are documented where they are")]
    pub faults: Faults,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        /// So that a default is written in one place.
        #[derive(Parser)]
        struct Flags {
            #[command(flatten)]
            options: SyntheticOptions,
        }
        Flags::parse_from(["synthetic"]).options
    }
}

fn matrix(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
    sizes
        .and_then(|sizes| <[usize; 3]>::try_from(sizes).ok())
        .ok_or_else(|| "expected three numbers, e.g. 64x64x32".to_owned())
}

/// The simulated scanner: one run. See the module docs.
#[derive(Debug)]
pub struct SyntheticScanner {
    options: SyntheticOptions,
    brain: Brain,
    repetition_time: RepetitionTime,
    entities: RunEntities,
    events: Vec<Event>,
    /// Class of each event.
    shown: Vec<usize>,
    response: Response,
    /// Linear and quadratic drift of each voxel, in units of its baseline.
    drift: Vec<[f32; 2]>,
    /// Indices in the order in which they come.
    schedule: std::vec::IntoIter<u32>,
    started: bool,
}

impl SyntheticScanner {
    /// Makes the brain, the order of stimuli and the faults.
    ///
    /// # Errors
    ///
    /// Fails when matrix, TR or a label cannot be.
    pub fn open(options: SyntheticOptions) -> Result<Self, AdapterError> {
        let SyntheticOptions { sub, ses, task, run, seed, .. } = &options;
        let entities = RunEntities::checked(sub, ses.as_deref(), Some(task), Some(run))?;
        let repetition_time = RepetitionTime::from_secs(options.tr)?;
        let brain = Brain::new(options.matrix, options.classes.len(), options.pattern_seed)?;
        let length_s = repetition_time.start_of(TrIndex(options.volumes));
        let mut rng = Rng::new(*seed, DESIGN);
        let events = design::events(options.design, &options.classes, length_s, &mut rng);
        let shown = events
            .iter()
            .filter_map(|event| options.classes.iter().position(|c| *c == event.trial_type))
            .collect();
        let mut rng = Rng::new(*seed, DRIFT);
        let size = options.drift_percent / 100.0;
        let drift =
            brain.baseline.iter().map(|_| [size * rng.normal(), size * rng.normal()]).collect();
        let schedule = options.faults.schedule(options.volumes, &mut Rng::new(*seed, FAULTS));
        Ok(Self {
            brain,
            repetition_time,
            entities,
            events,
            shown,
            response: Response::canonical(),
            drift,
            schedule: schedule.into_iter(),
            started: false,
            options,
        })
    }

    /// Indices of the brain's voxels, `(x·ny + y)·nz + z`, ascending.
    #[must_use]
    pub fn mask(&self) -> &[u32] {
        &self.brain.mask
    }

    /// The simulated brain.
    #[must_use]
    pub fn brain(&self) -> &Brain {
        &self.brain
    }

    /// Little-endian `int16` voxels of a volume, in C order. The same whenever it is asked for.
    #[must_use]
    pub fn voxels(&self, tr: TrIndex) -> Bytes {
        let time_s = self.repetition_time.start_of(tr);
        let mut signal = self.brain.baseline.clone();

        let mut shown_now = vec![0.0_f32; self.brain.patterns.len()];
        for (event, &class) in self.events.iter().zip(&self.shown) {
            shown_now[class] += self.response.at(time_s, event) as f32;
        }
        let contrast = self.options.contrast_percent / 100.0;
        for (at, &voxel) in self.brain.responsive.iter().enumerate() {
            let evoked: f32 =
                self.brain.patterns.iter().zip(&shown_now).map(|(p, h)| p[at] * h).sum();
            signal[voxel as usize] *= 1.0 + contrast * evoked;
        }
        // From -1 to 1 over the run.
        let phase = 2.0 * tr.0 as f32 / self.options.volumes as f32 - 1.0;
        for &voxel in &self.brain.mask {
            let [linear, quadratic] = self.drift[voxel as usize];
            signal[voxel as usize] *= 1.0 + linear * phase + quadratic * (phase * phase - 0.33);
        }
        if self.options.motion_mm > 0.0 {
            signal = shifted(&signal, self.options.matrix, self.displacement_voxels(tr));
        }

        let mut rng = Rng::new(self.options.seed, NOISE + u64::from(tr.0));
        // Receiver noise does not know where the brain is.
        let noise = self.options.noise_percent / 100.0 * 1000.0;
        let mut bytes = Vec::with_capacity(2 * signal.len());
        for value in signal {
            let stored = (value + noise * rng.normal()).abs().round().min(32_767.0) as i16;
            bytes.extend_from_slice(&stored.to_le_bytes());
        }
        bytes.into()
    }

    /// Where the head is, in voxels: straight lines between random places, from 0.
    fn displacement_voxels(&self, tr: TrIndex) -> [f32; 3] {
        let (knot, rest) = (tr.0 / MOTION_KNOT, tr.0 % MOTION_KNOT);
        let place = |knot: u32, axis: u64| {
            let mut rng = Rng::new(self.options.seed, MOTION + 3 * u64::from(knot) + axis);
            if knot == 0 { 0.0 } else { self.options.motion_mm * (2.0 * rng.uniform() - 1.0) }
        };
        let size_mm = self.brain.space.voxel_size_mm();
        let share = f64::from(rest) / f64::from(MOTION_KNOT);
        std::array::from_fn(|axis| {
            let (from, to) = (place(knot, axis as u64), place(knot + 1, axis as u64));
            ((from + (to - from) * share) / size_mm[axis]) as f32
        })
    }
}

impl ScannerAdapter for SyntheticScanner {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(None);
        }
        // The same options are the same acquisition, also after a restart.
        let hash = blake3::hash(format!("{:?}", self.options).as_bytes());
        Ok(Some(RunHeader {
            session: self.options.session.clone(),
            entities: self.entities.clone(),
            repetition_time: self.repetition_time,
            space: self.brain.space.clone(),
            n_volumes: Some(self.options.volumes),
            source: format!("synthetic seed {}", self.options.seed),
            series_id: hash.to_hex()[..16].to_owned(),
        }))
    }

    fn next_volume(&mut self) -> Result<Option<AcquiredVolume>, AdapterError> {
        if !self.started {
            return Ok(None);
        }
        Ok(self.schedule.next().map(|index| AcquiredVolume {
            index: TrIndex(index),
            acquisition_time_s: None,
            dtype: Dtype::Int16,
            order: Order::C,
            slope: None,
            intercept: None,
            scanner_wall_time: None,
            voxels: self.voxels(TrIndex(index)),
        }))
    }

    fn events(&self) -> &[Event] {
        &self.events
    }
}

/// A volume moved by `by` voxels, trilinear; what comes in from outside repeats the edge.
fn shifted(signal: &[f32], [nx, ny, nz]: [usize; 3], by: [f32; 3]) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::contract;

    fn options() -> SyntheticOptions {
        SyntheticOptions { volumes: 60, matrix: [12, 12, 6], ..SyntheticOptions::default() }
    }

    fn hash(options: SyntheticOptions) -> blake3::Hash {
        let runs = contract::holds(&mut SyntheticScanner::open(options).unwrap());
        let mut hasher = blake3::Hasher::new();
        for volume in &runs[0].1 {
            hasher.update(&volume.voxels);
        }
        hasher.finalize()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        assert_eq!(hash(options()), hash(options()));
        assert_ne!(hash(options()), hash(SyntheticOptions { seed: 2, ..options() }));
        let moving = SyntheticOptions { motion_mm: 1.0, ..options() };
        assert_eq!(hash(moving.clone()), hash(moving.clone()));
        assert_ne!(hash(options()), hash(moving));
    }

    #[test]
    fn the_brain_is_the_same_in_every_run_and_the_order_is_not() {
        let one = SyntheticScanner::open(options()).unwrap();
        let two = SyntheticScanner::open(SyntheticOptions { seed: 3, ..options() }).unwrap();
        assert_eq!(one.mask(), two.mask());
        assert_eq!(one.brain().patterns, two.brain().patterns);
        assert_ne!(one.events(), two.events());
        let n = one.mask().len();
        assert!((200..400).contains(&n), "an ellipsoid fills about a third, got {n} of 864");
    }

    #[test]
    fn voxels_respond_as_their_pattern_says() {
        // Without noise and drift, the difference to rest is contrast · pattern.
        let quiet = SyntheticOptions {
            noise_percent: 0.0,
            drift_percent: 0.0,
            contrast_percent: 20.0,
            ..options()
        };
        let scanner = SyntheticScanner::open(quiet).unwrap();
        let (event, class) = (&scanner.events()[0], scanner.shown[0]);
        let peak = TrIndex((event.onset_s + event.duration_s) as u32);
        let at = |tr, voxel: u32| {
            let bytes = scanner.voxels(tr);
            let i = 2 * voxel as usize;
            f32::from(i16::from_le_bytes([bytes[i], bytes[i + 1]]))
        };
        let height = scanner.response.at(f64::from(peak.0), event) as f32;
        for (i, &voxel) in scanner.brain().responsive.iter().enumerate() {
            let rest = at(TrIndex(0), voxel);
            let expected = rest * 0.2 * scanner.brain().patterns[class][i] * height;
            assert!((at(peak, voxel) - rest - expected).abs() < 1.5, "rounding to int16");
        }
    }

    #[test]
    fn a_shift_by_a_whole_voxel_moves_every_value_there() {
        let signal: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let moved = shifted(&signal, [3, 2, 2], [1.0, 0.0, 0.0]);
        assert_eq!(moved[4..], signal[..8]);
    }

    #[test]
    fn faults_reach_the_volumes_that_are_sent() {
        let faults = Faults { drop: vec![1], duplicate: vec![2], ..Faults::default() };
        let mut scanner =
            SyntheticScanner::open(SyntheticOptions { faults, volumes: 4, ..options() }).unwrap();
        let runs = contract::holds(&mut scanner);
        let got: Vec<u32> = runs[0].1.iter().map(|v| v.index.0).collect();
        assert_eq!(got, [0, 2, 2, 3]);
    }
}
