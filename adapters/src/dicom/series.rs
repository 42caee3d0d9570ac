//! One series: from the parts of its files to its volumes, and when it becomes a run.
//!
//! The same image can appear twice in a folder (copies, retries, a scanner that writes under two
//! names). So its own identifier and its number in the series identify an image, never the file's
//! name. Acquisition times are times of day; they are used while they keep a beat.

mod volume;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use corticast_bold::{
    run::{RunHeader, SliceTimes},
    settings::Axis,
    space::{SpaceMismatch, VoxelSpace},
    time::{RepetitionTime, TrIndex},
};

pub use self::volume::{Refusal, State, Volume};
use super::{
    assemble::Assembly,
    beat::Beat,
    clock::{Moment, elapsed_us},
    error::DicomError,
    numbering::{Facts, Numbering},
    parts::{Part, What},
    scan::{Scan, Vendor},
    select::Echoes,
    timing::{Verdict, repetition_time},
};

/// Two repetition times that differ by less than this share are one: scanners round them.
const SAME_TR: f64 = 0.005;

/// A repetition time for a wait while none is known, in seconds.
const USUAL_TR_S: f64 = 2.0;
/// The first volumes wait no longer for others.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// State of one series.
pub struct Series {
    /// What the header of its first image says.
    pub scan: Scan,
    /// What became of it.
    pub state: State,
    /// Volumes that are not delivered yet, in order of arrival.
    pub held: Vec<Volume>,
    /// When its first image came.
    pub first_came: Option<Instant>,
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
    /// The operator's repetition time.
    wanted: Option<RepetitionTime>,
    repetition: Option<RepetitionTime>,
    /// The repetition time was decided on.
    is_settled: bool,
    /// Its files are slices.
    is_of_slices: bool,
    /// The first indices are final, and the volumes that are held have them.
    is_numbered: bool,
    first_time: Option<Moment>,
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
            wanted,
            state: State::Waiting,
            held: Vec::new(),
            first_came: None,
            header: None,
            slice_times_s: Vec::new(),
            echoes: Echoes::default(),
            space: None,
            assembly: None,
            numbering: Numbering::default(),
            instances: HashSet::new(),
            repetition,
            is_settled: false,
            is_of_slices: false,
            is_numbered: false,
            first_time: None,
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
                self.is_of_slices = true;
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
        let Part { mut numbers, time, content, is_counted, .. } = part;
        numbers.temporal = numbers.temporal.filter(|_| !is_counted);
        let crc32 = crc32fast::hash(&voxels);
        let facts = Facts { numbers, time, content, is_counted, crc32 };
        let believed = self.believed(&stack.slice_times_s);
        let index = self.numbering.index(facts, believed)?;
        if let Some(time) = part.time {
            self.first_time = Some(self.first_time.map_or(time, |first| first.min(time)));
            self.last_time = Some(self.last_time.map_or(time, |last| last.max(time)));
        }
        if self.slice_times_s.is_empty()
            || n_different(&stack.slice_times_s) < n_different(&self.slice_times_s)
                && !stack.slice_times_s.is_empty()
        {
            self.slice_times_s = stack.slice_times_s.clone();
        }
        self.held.push(Volume { index, time: part.time, stack, voxels });
        // The numbers of slices are not all 1, so the first volume is known by its own.
        if self.is_of_slices && index == TrIndex(0) && !is_counted {
            self.numbering.begin();
        }
        self.number();
        Ok(())
    }

    /// Gives the volumes that are held the indices that are known by now.
    fn number(&mut self) {
        if !self.is_numbered {
            // None was delivered yet.
            for (volume, index) in self.held.iter_mut().zip(self.numbering.first_indices()) {
                volume.index = index;
            }
            self.is_numbered = self.numbering.is_begun();
        }
    }

    /// Whether the indices of the volumes that are held are final. A volume is not delivered before.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.is_numbered
    }

    /// How long the first volumes should wait for another one, from the time the first came.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let tr_s = self.believed(&[]).map_or(USUAL_TR_S, RepetitionTime::as_secs);
        Duration::from_secs_f64(self.numbering.wait_trs() * tr_s).min(LONGEST_WAIT)
    }

    /// The first volumes wait for no other one.
    pub fn begin(&mut self) {
        self.numbering.begin();
        self.number();
    }

    /// The repetition time, if volumes may be counted by it.
    fn believed(&self, slice_times_s: &[f64]) -> Option<RepetitionTime> {
        let asked = self.wanted;
        match repetition_time(asked, self.scan.repetition_s, slice_times_s, None) {
            Verdict::Known(known) => Some(known),
            _ => self.repetition.filter(|_| self.is_settled),
        }
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
        self.settle_if(wanted, true)
    }

    /// Decides on the repetition time, unless `at_end` is false and volumes that may still come could
    /// change the verdict.
    pub fn settle_if(&mut self, wanted: Option<RepetitionTime>, at_end: bool) -> Verdict {
        let mut verdict = repetition_time(
            wanted,
            self.scan.repetition_s,
            self.held.first().map_or(&[], |volume| &volume.stack.slice_times_s),
            self.clock_s(),
        );
        // Indices that may change tell no time between volumes.
        if let Verdict::OfClock(_, doubt) = &verdict
            && !self.is_numbered
            && !at_end
        {
            verdict = Verdict::Unknown(doubt.clone());
        }
        if let Verdict::Known(known) | Verdict::OfClock(known, _) = &verdict {
            self.repetition = Some(*known);
            self.is_settled = true;
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
        let (start, last) = self.first_time.zip(self.last_time)?;
        // A clock that stands still tells nothing.
        if self.numbering.len() > 1 && start == last {
            return None;
        }
        let half_us = self.repetition.map_or(500_000.0, |tr| tr.as_secs() * 5e5) as i64;
        let since_last_us = elapsed_us(last.us, time?.us);
        let since_start_us = elapsed_us(start.us, time?.us);
        Some(time?.day == last.day && since_last_us <= half_us && since_start_us >= -half_us)
    }

    /// Whether it can still become a run.
    #[must_use]
    pub fn is_no_run_yet(&self) -> bool {
        matches!(self.state, State::Waiting | State::Ready)
    }

    /// The earliest time of acquisition of its volumes.
    #[must_use]
    pub fn first_time(&self) -> Option<Moment> {
        self.first_time
    }

    /// The latest time of acquisition of its volumes.
    #[must_use]
    pub fn last_time(&self) -> Option<Moment> {
        self.last_time
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
