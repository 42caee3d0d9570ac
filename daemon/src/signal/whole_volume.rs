//! The stages that work on whole volumes: slice timing, realignment and smoothing.
//!
//! A session without them never makes a whole volume: the mask then reads its voxels out of the
//! stored bytes.

use std::collections::BTreeMap;

use corticast_bold::{
    realign::{Fit, Realign, Realigned},
    run::RunHeader,
    slice_timing::SliceTiming,
    smooth::Smooth,
    space::VoxelSpace,
    stage::Stage,
    state::{Loader, Saver},
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
}

impl WholeVolume {
    /// The stages of a plan, for volumes of this space.
    pub(super) fn new(plan: &StagePlan, space: &VoxelSpace) -> Result<Self, PlanError> {
        Ok(Self {
            slice_timing: None,
            realign: plan.realign(space)?,
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
        // A run is only admitted if its slice times fit.
        let slice_timing = self.plan.slice_timing(self.space.matrix(), header.repetition_time);
        self.slice_timing = slice_timing.ok().flatten();
        // A run is only admitted on the mask's grid.
        self.turn = Turn::between(&header.space, &self.space)
            .unwrap_or_else(|_| Turn::none(self.space.matrix()));
        if !self.turn.is_none() {
            tracing::info!(
                scan = header.space.orientation(),
                mask = self.space.orientation(),
                "the scan is in another voxel order than the mask: its voxels are read in the mask's"
            );
        }
        if let Some(realign) = &mut self.realign {
            match self.plan.reference {
                Reference::Run => realign.start_run(),
                Reference::Session => realign.start_run_with_same_reference(),
            }
        }
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
        let mut motion = None;
        if let Some(stage) = &mut self.realign {
            let done = watch.time(Realign::NAME, stages_ns, || stage.process(volume))?;
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
        Ok(Some(Prepared { volume, motion }))
    }

    /// Adds what outlives a run to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
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
