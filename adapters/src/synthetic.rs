//! A simulated scanner: known stimuli, known responses, and known faults.
//!
//! ```text
//! signal = baseline · (1 + contrast · pattern[class] · response to the design) + drift + noise
//! ```
//!
//! The pattern seed alone decides where the brain is and how its voxels respond to each class.
//! The run's seed decides the order of the stimuli, drift, noise, motion and faults. The same
//! seeds give the same bytes on every machine, because the code uses only sums, products and
//! square roots. Voxels are `int16` in C order.

pub mod brain;
pub mod design;
pub mod faults;
mod motion;
mod options;
pub mod rng;
pub mod write;

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order},
    run::{RunEntities, RunHeader},
    time::{RepetitionTime, TrIndex},
};
use corticast_images::{acquired::AcquiredVolume, error::AdapterError, events::Event};

pub use self::options::SyntheticOptions;
use self::{
    brain::Brain,
    design::Response,
    motion::{displacement_voxels, shifted},
    rng::Rng,
};
use crate::adapter::ScannerAdapter;

/// Random streams derived from the run's seed.
const DESIGN: u64 = 1 << 40;
const FAULTS: u64 = 2 << 40;
const DRIFT: u64 = 3 << 40;
const NOISE: u64 = 5 << 40;

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
    /// Volume indices in order of delivery.
    schedule: std::vec::IntoIter<u32>,
    started: bool,
}

impl SyntheticScanner {
    /// Generates the brain, the order of stimuli and the faults.
    ///
    /// # Errors
    ///
    /// Fails when the matrix, the TR or a label is invalid.
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

    /// Little-endian `int16` voxels of a volume, in C order. Every call gives the same bytes.
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
            let size_mm = self.brain.space.voxel_size_mm();
            let by = displacement_voxels(self.options.seed, self.options.motion_mm, size_mm, tr);
            signal = shifted(&signal, self.options.matrix, by);
        }

        let mut rng = Rng::new(self.options.seed, NOISE + u64::from(tr.0));
        // Receiver noise is the same inside and outside the brain.
        let noise = self.options.noise_percent / 100.0 * 1000.0;
        let mut bytes = Vec::with_capacity(2 * signal.len());
        for value in signal {
            let stored = (value + noise * rng.normal()).abs().round().min(32_767.0) as i16;
            bytes.extend_from_slice(&stored.to_le_bytes());
        }
        bytes.into()
    }
}

impl ScannerAdapter for SyntheticScanner {
    fn start_run(&mut self) -> Result<Option<RunHeader>, AdapterError> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(None);
        }
        // The same options give the same acquisition, also after a restart.
        let hash = blake3::hash(format!("{:?}", self.options).as_bytes());
        Ok(Some(RunHeader {
            session: self.options.session.clone(),
            entities: self.entities.clone(),
            repetition_time: self.repetition_time,
            space: self.brain.space.clone(),
            n_volumes: Some(self.options.volumes),
            source: format!("synthetic seed {}", self.options.seed),
            series_id: hash.to_hex()[..16].to_owned(),
            slice_times: None,
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

#[cfg(test)]
mod tests {
    use super::{faults::Faults, *};
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
        // Without noise and drift, the difference from rest is contrast · pattern.
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
