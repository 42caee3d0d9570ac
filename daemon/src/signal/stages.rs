//! The stages of the signal path with their state, from whole volumes to windows.
//!
//! [`super::path::SignalPath::step`] passes volumes through them. Here they are made, started for a
//! run, and saved in checkpoints.

use corticast_bold::{
    denoise::{Denoise, PlannedRun},
    gap_fill::GapFill,
    hemodynamic_shift::HemodynamicShift,
    normalise::Normalise,
    quality::{Displacement, Dvars, SpikeThresholds, Tsnr, centre_mm},
    run::RunHeader,
    spatial_mask::SpatialMask,
    state::{Loader, Saver},
};

use super::whole_volume::WholeVolume;
use crate::plan::{agree::SignalOptions, error::PlanError};

/// All stages. A clone has a state of its own.
#[derive(Clone)]
pub(super) struct Stages {
    pub(super) whole: WholeVolume,
    pub(super) regions: Option<SpatialMask>,
    pub(super) dvars: Dvars,
    pub(super) displacement: Displacement,
    pub(super) spikes: SpikeThresholds,
    pub(super) tsnr: Option<Tsnr>,
    /// Whether the last volume is not part of the tSNR yet, which is measured after the results are
    /// out.
    pub(super) is_unmeasured: bool,
    /// Whether nobody has looked yet at where the mask lies in the volumes of the run.
    pub(super) is_unplaced: bool,
    /// Volumes in a row that were not found in the reference.
    pub(super) n_unfound: u32,
    /// Centre of the run's volumes, RAS+ mm.
    pub(super) centre_mm: [f64; 3],
    pub(super) denoise: Option<Denoise>,
    /// The regions of the feedback, denoised like the voxels of the mask.
    pub(super) denoise_regions: Option<Denoise>,
    pub(super) gap_fill: GapFill,
    pub(super) normalise: Normalise,
    /// `None` before the first run.
    pub(super) hemodynamic_shift: Option<HemodynamicShift>,
}

impl Stages {
    /// The stages of a session, without a run.
    pub(super) fn new(options: &SignalOptions, mask: &SpatialMask) -> Result<Self, PlanError> {
        let plan = &options.stages;
        let regions = plan.regions.clone();
        let n_region = regions.as_ref().map_or(0, SpatialMask::n_voxel);
        let n_region = n_region.saturating_sub(plan.n_nuisance());
        let quality = &options.quality;
        let fd_mm = plan.settings.realign.is_some().then_some(quality.fd_mm);
        Ok(Self {
            whole: WholeVolume::new(&options.stages, mask.space())?,
            dvars: Dvars::new(options.quality_baseline_volumes),
            displacement: Displacement::new([0.0; 3]),
            spikes: SpikeThresholds::new(fd_mm, quality.dvars).unwrap_or_default(),
            tsnr: (quality.tsnr_every_volumes > 0).then(|| Tsnr::new(mask.n_voxel())),
            is_unmeasured: false,
            is_unplaced: true,
            n_unfound: 0,
            centre_mm: [0.0; 3],
            denoise: plan.denoise(mask.n_voxel(), None)?,
            // Percent signal change needs the mean.
            denoise_regions: match n_region {
                0 => None,
                _ => plan.denoise(n_region, Some(true))?,
            },
            gap_fill: GapFill::new(options.missing, options.max_fill_volumes),
            normalise: Normalise::new(options.normalise.clone(), mask.n_voxel())?,
            hemodynamic_shift: None,
            regions,
        })
    }

    /// Forgets the previous run and prepares for this one.
    pub(super) fn start_run(&mut self, header: &RunHeader, options: &SignalOptions) {
        self.whole.start_run(header);
        if let Some(regions) = &mut self.regions {
            // A run is only admitted on the mask's grid, which is that of the regions.
            drop(regions.start_run(&header.space));
        }
        self.dvars.start_run();
        self.centre_mm = centre_mm(&header.space);
        self.displacement.start_run(self.centre_mm);
        (self.is_unmeasured, self.is_unplaced, self.n_unfound) = (false, true, 0);
        if let Some(tsnr) = &mut self.tsnr {
            tsnr.start_run();
        }
        let planned = PlannedRun::from(header);
        for denoise in [&mut self.denoise, &mut self.denoise_regions].into_iter().flatten() {
            denoise.start_run(&planned);
        }
        self.gap_fill.start_run();
        self.normalise.start_run();
        self.hemodynamic_shift = Some(HemodynamicShift::new(
            header.repetition_time,
            options.hrf_delay_s,
            options.shift,
            options.window_volumes,
        ));
    }

    /// Adds their state to a checkpoint: with an open run all of it, else what later runs need.
    pub(super) fn save(&self, to: &mut Saver, is_run_open: bool) {
        self.whole.save(to);
        self.normalise.save(to);
        if !is_run_open {
            return;
        }
        self.whole.save_run(to);
        self.dvars.save(to);
        self.displacement.save(to);
        if let Some(tsnr) = &self.tsnr {
            tsnr.save(to);
        }
        for denoise in [&self.denoise, &self.denoise_regions].into_iter().flatten() {
            denoise.save(to);
        }
        self.gap_fill.save(to);
        if let Some(shift) = &self.hemodynamic_shift {
            shift.save(to);
        }
    }

    /// Takes their state from a checkpoint. An open run must have been started. `None` when the
    /// bytes do not fit; the state is then unspecified.
    pub(super) fn load(&mut self, from: &mut Loader<'_>, is_run_open: bool) -> Option<()> {
        self.whole.load(from)?;
        self.normalise.load(from)?;
        if !is_run_open {
            return Some(());
        }
        self.is_unplaced = false;
        self.whole.load_run(from)?;
        self.dvars.load(from)?;
        self.displacement.load(from)?;
        if let Some(tsnr) = &mut self.tsnr {
            tsnr.load(from)?;
        }
        for denoise in [&mut self.denoise, &mut self.denoise_regions].into_iter().flatten() {
            denoise.load(from)?;
        }
        self.gap_fill.load(from)?;
        match &mut self.hemodynamic_shift {
            Some(shift) => shift.load(from),
            None => Some(()),
        }
    }
}
