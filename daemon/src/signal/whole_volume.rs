//! The stages that work on whole volumes: slice timing, realignment and smoothing.
//!
//! A session without them never makes a whole volume: the mask then reads its voxels out of the
//! stored bytes.

use std::collections::BTreeMap;

use corticast_bold::{
    realign::{Fit, Realign, Realigned, coregister::Coregistration},
    run::RunHeader,
    settings::SliceTimesFrom,
    slice_timing::SliceTiming,
    smooth::Smooth,
    space::VoxelSpace,
    stage::Stage,
    state::{Loader, Saver},
    time::TrIndex,
    turn::Turn,
    volume::{Motion, Volume},
};

use super::{path::SignalPathError, stopwatch::Stopwatch};
use crate::{
    config::stages::Reference,
    plan::{error::PlanError, stages::StagePlan},
};

/// See the module docs.
#[derive(Clone)]
pub(super) struct WholeVolume {
    plan: StagePlan,
    /// Made at the start of a run, whose TR it needs.
    slice_timing: Option<SliceTiming>,
    /// Made at the start of a run if its space need not be the mask's.
    realign: Option<Realign>,
    smooth: Option<Smooth>,
    space: VoxelSpace,
    /// From the voxel order of the run to that of the mask, in which the stages work.
    turn: Turn,
}

/// What comes of a volume.
pub(super) struct Prepared {
    pub(super) volume: Volume,
    /// `None` without realignment.
    pub(super) motion: Option<(Motion, Fit)>,
    /// Whether the volume became the reference of its run.
    pub(super) is_reference: bool,
}

impl WholeVolume {
    /// The stages of a plan, for volumes of this space.
    pub(super) fn new(plan: &StagePlan, space: &VoxelSpace) -> Result<Self, PlanError> {
        Ok(Self {
            slice_timing: None,
            realign: match plan.model_image {
                None => plan.realign(space, space)?,
                Some(_) => None,
            },
            smooth: plan.smooth(space)?,
            plan: plan.clone(),
            turn: Turn::none(space.matrix()),
            space: space.clone(),
        })
    }

    /// Whether there is any such stage.
    pub(super) fn is_needed(&self) -> bool {
        self.plan.settings.need_whole_volumes()
    }

    /// Forgets the previous run.
    pub(super) fn start_run(&mut self, header: &RunHeader) {
        self.turn = self.plan.turn(&header.space, &self.space);
        // A run is only admitted if its slice times fit.
        self.slice_timing = self.plan.slice_timing(header, &self.turn).ok().flatten();
        if self.plan.model_image.is_some() {
            self.resize(&header.space);
        }
        if !self.turn.is_none() {
            tracing::info!(
                scan = header.space.orientation(),
                mask = self.space.orientation(),
                "the scan is in another voxel order than the mask: its voxels are read in the mask's"
            );
        }
        let is_of_adapter = self.plan.settings.slice_timing.as_ref();
        let is_of_adapter = is_of_adapter.is_some_and(|on| on.from == SliceTimesFrom::Adapter);
        if let Some(stated) = header.slice_times.as_ref().filter(|_| is_of_adapter) {
            let latest_s = stated.times_s.iter().copied().fold(0.0, f64::max);
            tracing::info!(
                "slice times are the adapter's: {} slices along {} of the scan ({}), the last one \
                 {latest_s:.3} s after the first",
                stated.times_s.len(),
                stated.axis.name(),
                header.space.orientation(),
            );
        }
        if let Some(realign) = &mut self.realign {
            match self.plan.reference {
                Reference::Run => realign.start_run(),
                Reference::Session => realign.start_run_with_same_reference(),
            }
        }
    }

    /// Makes the realignment anew for runs of another space. A run is only admitted if it fits.
    fn resize(&mut self, run: &VoxelSpace) {
        if self.realign.as_ref().is_none_or(|realign| realign.space() != run) {
            self.realign = self.plan.realign(run, &self.space).ok().flatten();
        }
    }

    /// Where the reference of the run lies in the model's image, and for each voxel of that whether
    /// the run covers it. `None` without such an image.
    pub(super) fn coregistration(&self) -> Option<(Coregistration, Volume)> {
        let realign = self.realign.as_ref()?;
        let (found, signal) = (realign.coregistration()?, realign.coverage()?);
        let matrix = self.space.matrix();
        let covered = Volume { tr: TrIndex(0), acquisition_time_s: 0.0, matrix, signal };
        Some((found, covered))
    }

    /// Passes a volume through the stages.
    pub(super) fn process(
        &mut self,
        volume: Volume,
        watch: &mut Stopwatch<'_>,
        stages_ns: &mut BTreeMap<&'static str, u64>,
    ) -> Result<Option<Prepared>, SignalPathError> {
        let mut volume = self.turn.volume(volume);
        if let Some(stage) = &mut self.slice_timing {
            let done = watch.time(SliceTiming::NAME, stages_ns, || stage.process(volume))?;
            let Some(done) = done else { return Ok(None) };
            volume = done;
        }
        let (mut motion, mut is_reference) = (None, false);
        if let Some(stage) = &mut self.realign {
            let had_reference = stage.has_reference();
            let done = watch.time(Realign::NAME, stages_ns, || stage.process(volume))?;
            is_reference = !had_reference;
            let Some(Realigned { volume: moved, motion: found, fit }) = done else {
                return Ok(None);
            };
            (volume, motion) = (moved, Some((found, fit)));
        }
        if let Some(stage) = &mut self.smooth {
            let done = watch.time(Smooth::NAME, stages_ns, || stage.process(volume))?;
            let Some(done) = done else { return Ok(None) };
            volume = done;
        }
        Ok(Some(Prepared { volume, motion, is_reference }))
    }

    /// Adds what outlives a run to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        if self.plan.model_image.is_some() {
            let space = self.realign.as_ref().map(Realign::space);
            to.f64s(&space.map(numbers).unwrap_or_default());
        }
        if let Some(stage) = &self.realign {
            stage.save(to);
        }
    }

    /// Adds the state of the open run to a checkpoint.
    pub(super) fn save_run(&self, to: &mut Saver) {
        if let Some(stage) = &self.slice_timing {
            stage.save(to);
        }
    }

    /// Takes what outlives a run from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        if self.plan.model_image.is_some() {
            match from.f64s()?.as_slice() {
                [] => self.realign = None,
                numbers => self.resize(&space(numbers)?),
            }
        }
        match &mut self.realign {
            Some(stage) => stage.load(from),
            None => Some(()),
        }
    }

    /// Takes the state of the open run from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load_run(&mut self, from: &mut Loader<'_>) -> Option<()> {
        match &mut self.slice_timing {
            Some(stage) => stage.load(from),
            None => Some(()),
        }
    }
}

/// A space for a checkpoint: voxels along x, y, z, then the rows of the affine.
fn numbers(space: &VoxelSpace) -> Vec<f64> {
    let matrix = space.matrix().map(|n| n as f64);
    matrix.into_iter().chain(space.affine().iter().flatten().copied()).collect()
}

/// A space from a checkpoint. `None` when the numbers are none.
fn space(numbers: &[f64]) -> Option<VoxelSpace> {
    let (matrix, rows) = numbers.split_at_checked(3)?;
    if rows.len() != 16 {
        return None;
    }
    let mut affine = [[0.0; 4]; 4];
    affine.as_flattened_mut().copy_from_slice(rows);
    VoxelSpace::new([0, 1, 2].map(|axis| matrix[axis] as usize), affine).ok()
}
