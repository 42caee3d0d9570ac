//! One series: from the parts of its files to its volumes, and when it becomes a run.
//!
//! The same image can appear twice in a folder (copies, retries, a scanner that writes under two
//! names). So its own identifier and its number in the series identify an image, never the file's
//! name. Acquisition times are times of day; they are used while they keep a beat.

use std::collections::HashSet;

use bytes::Bytes;
use corticast_bold::{
    run::{RunHeader, SliceTimes},
    settings::Axis,
    space::{SpaceMismatch, VoxelSpace},
    time::{RepetitionTime, TrIndex},
};

use super::{
    assemble::Assembly,
    beat::Beat,
    clock::{Moment, elapsed_us},
    error::DicomError,
    numbering::{Facts, NoNumber, Numbering},
    parts::{Part, Stack, What},
    scan::{Scan, Vendor},
    select::Echoes,
    timing::{Verdict, repetition_time},
};

/// Two repetition times that differ by less than this share are one: scanners round them.
const SAME_TR: f64 = 0.005;

/// A volume of a series, ready to be delivered.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Position in the series.
    pub index: TrIndex,
    /// When it was acquired.
    pub time: Option<Moment>,
    /// The voxels and where they lie.
    pub stack: Stack,
    /// Its voxels.
    pub voxels: Bytes,
}

/// Why an image is no further volume of its series.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The image came before, or has no number of its own.
    #[error(transparent)]
    Number(#[from] NoNumber),
    /// The matrix of the image differs from that of the series.
    #[error("matrix is {found:?}, expected {expected:?}")]
    Matrix {
        /// Voxels along x, y, z of the image.
        found: [usize; 3],
        /// Voxels along x, y, z of the first image.
        expected: [usize; 3],
    },
    /// The repetition time of the image differs from that of the series.
    #[error("repetition time is {found} s, expected {expected} s")]
    RepetitionTime {
        /// Repetition time of the image, in seconds.
        found: f64,
        /// Repetition time of the first image, in seconds.
        expected: f64,
    },
    /// The slices are no volume.
    #[error(transparent)]
    Slices(#[from] DicomError),
}

/// What became of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its volumes are held until the run can start.
    Waiting,
    /// It is, or was, a run.
    Run,
    /// Another series has begun, so that its volumes are no longer delivered.
    Over,
    /// It is no run.
    Refused,
}

/// State of one series.
pub struct Series {
    /// What the header of its first image says.
    pub scan: Scan,
    /// What became of it.
    pub state: State,
    /// Volumes that are not delivered yet, in order of arrival.
    pub held: Vec<Volume>,
    /// The run header, once it is a run.
    pub header: Option<RunHeader>,
    /// Slice times of the first volume with fewest different times: the first volume of a
    /// multiband series has those of its single-band reference.
    pub slice_times_s: Vec<f64>,
    /// The echoes seen, and the one that is taken.
    pub echoes: Echoes,
    space: Option<VoxelSpace>,
    assembly: Option<Assembly>,
    numbering: Numbering,
    instances: HashSet<u64>,
    repetition: Option<RepetitionTime>,
    first: Option<(TrIndex, Moment)>,
    last_time: Option<Moment>,
    beat: Beat,
    is_warned_of_affine: bool,
}

impl Series {
    /// A series without volumes.
    #[must_use]
    pub fn new(scan: Scan, wanted: Option<RepetitionTime>) -> Self {
        let repetition = wanted.or_else(|| RepetitionTime::from_secs(scan.repetition_s?).ok());
        Self {
            scan,
            state: State::Waiting,
            held: Vec::new(),
            header: None,
            slice_times_s: Vec::new(),
            echoes: Echoes::default(),
            space: None,
            assembly: None,
            numbering: Numbering::new(),
            instances: HashSet::new(),
            repetition,
            first: None,
            last_time: None,
            beat: Beat::default(),
            is_warned_of_affine: false,
        }
    }

    /// Whether a file of this identifier came before. Remembers it.
    pub fn is_known(&mut self, instance: u64) -> bool {
        !self.instances.insert(instance)
    }

    /// Whether a file of this identifier came before.
    #[must_use]
    pub fn has(&self, instance: u64) -> bool {
        self.instances.contains(&instance)
    }

    /// Takes a part of a file, and holds the volumes that are complete with it. Returns what was
    /// refused.
    pub fn add(&mut self, scan: &Scan, part: Part) -> Vec<Refusal> {
        let n_volumes = scan.n_volumes;
        let whole = match part.what {
            What::Volume(_) => vec![Ok(part)],
            What::Slice(_) => {
                let assembly = self.assembly.get_or_insert_with(|| Assembly::new(scan));
                assembly.add(part, n_volumes)
            }
        };
        self.accept_all(scan.repetition_s, whole)
    }

    /// Takes the volumes whose slices are complete although no later slice shows it.
    pub fn flush(&mut self) -> Vec<Refusal> {
        let whole = self.assembly.as_mut().map(Assembly::flush).unwrap_or_default();
        self.accept_all(self.scan.repetition_s, whole)
    }

    /// Whether the number of slices is not known yet, so that only a later slice or a silence
    /// shows that a volume is complete.
    #[must_use]
    pub fn counts_slices(&self) -> bool {
        self.assembly.as_ref().is_some_and(Assembly::counts)
    }

    /// Whether slices wait for their volume.
    #[must_use]
    pub fn has_slices(&self) -> bool {
        self.assembly.as_ref().is_some_and(Assembly::is_waiting)
    }

    fn accept_all(
        &mut self,
        stated_s: Option<f64>,
        whole: Vec<Result<Part, DicomError>>,
    ) -> Vec<Refusal> {
        let accept = |part: Result<Part, DicomError>| {
            let part = part?;
            self.accept(stated_s, part)
        };
        whole.into_iter().map(accept).filter_map(Result::err).collect()
    }

    fn accept(&mut self, stated_s: Option<f64>, part: Part) -> Result<(), Refusal> {
        let What::Volume(mut stack) = part.what else { return Ok(()) };
        let seconds = self.scan.repetition_s.zip(stated_s);
        if let Some((expected, found)) =
            seconds.filter(|(a, b)| (a - b).abs() > SAME_TR * a.abs().max(*b))
        {
            return Err(Refusal::RepetitionTime { found, expected });
        }
        self.check_space(&stack.space)?;
        let voxels = Bytes::from(std::mem::take(&mut stack.voxels));
        let facts =
            Facts { numbers: part.numbers, time: part.time, crc32: crc32fast::hash(&voxels) };
        let index = self.numbering.index(facts, self.repetition)?;
        if let Some(time) = part.time {
            self.first.get_or_insert((index, time));
            self.last_time = Some(self.last_time.map_or(time, |last| last.max(time)));
        }
        if self.slice_times_s.is_empty()
            || n_different(&stack.slice_times_s) < n_different(&self.slice_times_s)
                && !stack.slice_times_s.is_empty()
        {
            self.slice_times_s = stack.slice_times_s.clone();
        }
        self.held.push(Volume { index, time: part.time, stack, voxels });
        Ok(())
    }

    fn check_space(&mut self, space: &VoxelSpace) -> Result<(), Refusal> {
        let expected = self.space.get_or_insert_with(|| space.clone());
        match space.check_is(expected) {
            Err(SpaceMismatch::Matrix { found, expected }) => {
                Err(Refusal::Matrix { found, expected })
            }
            // Scanners with prospective motion correction move the slices with the head.
            Err(mismatch @ SpaceMismatch::Affine { .. }) if !self.is_warned_of_affine => {
                self.is_warned_of_affine = true;
                tracing::warn!(%mismatch, "slices moved during the run");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Matrix and affine of its volumes, once there is one.
    #[must_use]
    pub fn space(&self) -> Option<&VoxelSpace> {
        self.space.as_ref()
    }

    /// The repetition time, as far as it is known.
    #[must_use]
    pub fn repetition_time(&self) -> Option<RepetitionTime> {
        self.repetition
    }

    /// Decides on the repetition time from the volumes that are held.
    pub fn settle(&mut self, wanted: Option<RepetitionTime>) -> Verdict {
        let verdict = repetition_time(
            wanted,
            self.scan.repetition_s,
            self.held.first().map_or(&[], |volume| &volume.stack.slice_times_s),
            self.clock_s(),
        );
        if let Verdict::Known(known) | Verdict::OfClock(known, _) = &verdict {
            self.repetition = Some(*known);
        }
        verdict
    }

    /// When slices are acquired, for the header of the run.
    #[must_use]
    pub fn slice_times(&self, matrix: [usize; 3]) -> Option<SliceTimes> {
        SliceTimes::checked(self.slice_times_s.clone(), Axis::Z, matrix)
    }

    /// Whether the slice times may be those of the single-band reference, and a further volume will
    /// tell: Siemens XA states them for the first volume of a multiband series.
    #[must_use]
    pub fn doubts_slice_times(&self) -> bool {
        let n_slice = self.slice_times_s.len();
        let all_differ = n_slice > 1 && n_different(&self.slice_times_s) == n_slice;
        let goes_on = self.scan.n_volumes != Some(1) && self.n_volume() < 2;
        self.scan.vendor == Vendor::SiemensXa && all_differ && goes_on
    }

    /// Time between volumes by the scanner's clock, from the volumes that are held, in seconds: the
    /// median of the steps, because the first one may be of a scan that was prepared before it ran.
    #[must_use]
    pub fn clock_s(&self) -> Option<f64> {
        let mut timed: Vec<_> = self.held.iter().filter_map(|v| Some((v.index, v.time?))).collect();
        timed.sort_by_key(|v| v.0);
        let step = |pair: &[(TrIndex, Moment)]| {
            let n_step = pair[1].0.0.checked_sub(pair[0].0.0).filter(|n| *n > 0)?;
            Some(elapsed_us(pair[0].1.us, pair[1].1.us) as f64 / 1e6 / f64::from(n_step))
        };
        let mut steps: Vec<f64> = timed.windows(2).filter_map(step).collect();
        steps.sort_by(f64::total_cmp);
        let middle = steps.len() / 2;
        match steps.len() % 2 {
            _ if steps.is_empty() => None,
            0 => Some((steps[middle - 1] + steps[middle]) / 2.0),
            _ => Some(steps[middle]),
        }
    }

    /// Whether an image of another series was acquired while this one was, by the scanner's clock.
    /// `None` when the clock does not tell.
    #[must_use]
    pub fn was_scanning(&self, time: Option<Moment>) -> Option<bool> {
        let ((_, start), last) = self.first.zip(self.last_time)?;
        // A clock that stands still tells nothing.
        if self.numbering.len() > 1 && start == last {
            return None;
        }
        let half_us = self.repetition.map_or(500_000.0, |tr| tr.as_secs() * 5e5) as i64;
        let since_last_us = elapsed_us(last.us, time?.us);
        let since_start_us = elapsed_us(start.us, time?.us);
        Some(time?.day == last.day && since_last_us <= half_us && since_start_us >= -half_us)
    }

    /// Whether as many volumes came as the header announces.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let n_volumes = self.header.as_ref().and_then(|header| header.n_volumes);
        n_volumes.is_some_and(|n| self.numbering.len() >= n as usize)
    }

    /// Number of missing volumes before the last one that came.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        self.numbering.n_missing()
    }

    /// Whether a number in the headers names two volumes.
    #[must_use]
    pub fn is_misnumbered(&self) -> bool {
        self.numbering.is_doubtful()
    }

    /// Number of volumes that came.
    #[must_use]
    pub fn n_volume(&self) -> usize {
        self.numbering.len()
    }

    /// Start of acquisition, in seconds since the start of index 0.
    pub fn acquisition_time_s(&mut self, volume: &Volume) -> Option<f64> {
        self.beat.start_s(volume.index, volume.time?, self.repetition?)
    }
}

/// The label of the series that follows `further` series after the one labelled `first`.
#[must_use]
pub fn run_label(first: &str, further: u64) -> String {
    match first.parse::<u64>() {
        _ if further == 0 => first.to_owned(),
        Ok(number) => format!("{:0width$}", number.saturating_add(further), width = first.len()),
        Err(_) => format!("{first}{}", further + 1),
    }
}

/// How many slices were excited at different times.
fn n_different(times_s: &[f64]) -> usize {
    let mut sorted = times_s.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Slices with the same start time belong to one excitation (multiband).
    sorted.dedup_by(|a, b| (*a - *b).abs() < 1e-4);
    sorted.len()
}

/// How many excitations a volume has.
#[must_use]
pub fn n_excitation(times_s: &[f64]) -> usize {
    n_different(times_s)
}

#[cfg(test)]
mod tests;
