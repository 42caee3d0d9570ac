//! Motion: the motion parameters of a run, by the stage of the live daemon.

use std::{
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use corticast_bold::{
    decode::StoredVolume,
    realign::{Fit, Realign, RealignOptions, Realigned, ReferenceImage},
    run::RunHeader,
    smooth::Smooth,
    stage::Stage,
    turn::Turn,
    volume::Motion,
};
use corticast_wire::message::FromAdapter;

use super::{error::ReplayError, source::Source};
use crate::{
    plan::{
        error::OTHER_GRID,
        mask_file::{Image, MaskFileError, read_image},
    },
    recording::reader::{Recording, RecordingError},
};

/// How motion is estimated.
#[derive(Clone, Debug, Default)]
pub struct MotionOptions {
    /// The run, by its name; the first one without it.
    pub run: Option<String>,
    /// Image that volumes are realigned to; the first volume without it.
    pub reference: Option<PathBuf>,
    /// Full width at half maximum of a Gaussian after reslicing, in mm.
    pub smooth_mm: Option<f64>,
}

/// The motion of one run.
#[derive(Clone, Debug, Default)]
pub struct RunMotion {
    /// Name of the run.
    pub run: String,
    /// Motion of each index; `None` for a volume that is missing or was refused.
    pub volumes: Vec<Option<(Motion, Fit)>>,
    /// Volumes that were there and have no motion at all.
    pub n_refused: usize,
    /// Time of estimate, reslicing and smoothing of each volume after the first, shortest first.
    pub times: Vec<Duration>,
}

/// Why the motion of a run cannot be estimated.
#[derive(Debug, thiserror::Error)]
pub enum MotionError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] ReplayError),
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The reference cannot be read.
    #[error("cannot use the reference: {0}")]
    Reference(#[from] MaskFileError),
    /// The scans cannot be realigned or smoothed.
    #[error("{0}")]
    Stage(String),
    /// There is no such run.
    #[error("{path} holds no run {wanted}, found {found:?}")]
    NoRun {
        /// Path of the source.
        path: PathBuf,
        /// The run that was asked for.
        wanted: String,
        /// The runs found.
        found: Vec<String>,
    },
}

/// Estimates the motion of a run. `progress` is called for each volume, with the planned number.
///
/// # Errors
///
/// Fails when the source cannot be read, has no such run, or cannot be realigned.
pub fn motion(
    source: &Source,
    options: &MotionOptions,
    progress: &mut dyn FnMut(Option<u32>),
) -> Result<RunMotion, MotionError> {
    let mut found = Vec::new();
    let mut estimate: Option<Estimate> = None;
    let mut start = |header: &RunHeader| -> Result<Option<Estimate>, MotionError> {
        let name = header.run_id();
        found.push(name.clone());
        let is_wanted = options.run.as_ref().is_none_or(|wanted| *wanted == name);
        is_wanted.then(|| Estimate::new(header, options)).transpose()
    };
    if let Some(mut adapter) = source.adapter().map_err(ReplayError::from)? {
        while let Some(header) = adapter.start_run().map_err(ReplayError::from)? {
            let Some(mut estimate) = start(&header)? else { continue };
            while let Some(volume) = adapter.next_volume().map_err(ReplayError::from)? {
                progress(header.n_volumes);
                estimate.add(&volume.into_message(&header.run_id()).stored(&header));
            }
            return Ok(estimate.finish());
        }
    } else {
        let mut recording = Recording::open(&source.path)?;
        let mut header: Option<RunHeader> = None;
        for entry in &mut recording {
            let message = entry.frames().and_then(|frames| FromAdapter::parse(&frames).ok());
            match message {
                Some((FromAdapter::Run { header: started, .. }, _)) if estimate.is_none() => {
                    estimate = start(&started)?;
                    header = Some(started);
                }
                Some((FromAdapter::Volume(volume), _)) => {
                    if let (Some(estimate), Some(header)) = (&mut estimate, &header)
                        && volume.header.run == estimate.motion.run
                    {
                        progress(header.n_volumes);
                        estimate.add(&volume.stored(header));
                    }
                }
                _ => {}
            }
        }
        recording.check_read()?;
        if let Some(estimate) = estimate {
            return Ok(estimate.finish());
        }
    }
    let wanted = options.run.clone().unwrap_or_default();
    Err(MotionError::NoRun { path: source.path.clone(), wanted, found })
}

/// The motion of a run so far.
struct Estimate {
    realign: Realign,
    smooth: Option<Smooth>,
    motion: RunMotion,
}

impl Estimate {
    fn new(header: &RunHeader, options: &MotionOptions) -> Result<Self, MotionError> {
        let stage = |error: &dyn std::fmt::Display| MotionError::Stage(error.to_string());
        let image = options.reference.as_deref().map(read_image).transpose()?;
        let turned = image.map(|Image { space, values }| {
            Turn::between(&space, &header.space)
                .map(|turn| turn.values(values))
                .map_err(|mismatch| stage(&format!("the reference: {mismatch}; {OTHER_GRID}")))
        });
        let signal = turned.transpose()?;
        let space = &header.space;
        let reference = signal.as_ref().map(|signal| ReferenceImage { space, signal });
        let realign = Realign::new(RealignOptions::default(), &header.space, reference)
            .map_err(|error| stage(&error))?;
        let smooth = options.smooth_mm.map(|fwhm_mm| Smooth::new(fwhm_mm, &header.space));
        let smooth = smooth.transpose().map_err(|error| stage(&error))?;
        let motion = RunMotion { run: header.run_id(), ..RunMotion::default() };
        Ok(Self { realign, smooth, motion })
    }

    fn add(&mut self, stored: &StoredVolume<'_>) {
        let index = stored.tr.0 as usize;
        let found = match stored.to_volume() {
            Ok(volume) => {
                let started = Instant::now();
                let found = self.realign.process(volume).map(|realigned| {
                    realigned.map(|Realigned { volume, motion, fit }| {
                        if let Some(smooth) = &mut self.smooth {
                            drop(smooth.process(volume));
                        }
                        (motion, fit)
                    })
                });
                self.motion.times.push(started.elapsed());
                found.unwrap_or_else(|error| {
                    tracing::warn!("{error}");
                    None
                })
            }
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        };
        self.motion.n_refused += usize::from(found.is_none());
        // A scanner's index is bounded, but a gap of millions is no run.
        if index < 1 << 24 {
            let n = self.motion.volumes.len().max(index + 1);
            self.motion.volumes.resize(n, None);
            self.motion.volumes[index] = found;
        }
    }

    fn finish(mut self) -> RunMotion {
        let times = &mut self.motion.times;
        // The first volume becomes the reference.
        if !times.is_empty() {
            times.remove(0);
        }
        times.sort_unstable();
        self.motion
    }
}

impl RunMotion {
    /// The time that this share of the volumes did not exceed.
    #[must_use]
    pub fn time(&self, share: f64) -> Option<Duration> {
        let last = self.times.len().checked_sub(1)?;
        self.times.get(((last as f64) * share).ceil() as usize).copied()
    }

    /// Volumes without an estimate, and those whose estimate did not converge.
    #[must_use]
    pub fn n_not_converged(&self) -> usize {
        let fits = self.volumes.iter().flatten().map(|(_, fit)| *fit);
        self.n_refused + fits.filter(|fit| *fit != Fit::Converged).count()
    }

    /// A table with one row for each index. Columns `trans_x` to `trans_z` in mm and `rot_x` to
    /// `rot_z` in radians; conventions as [`Motion`].
    #[must_use]
    pub fn to_tsv(&self) -> String {
        let mut text = "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z\n".to_owned();
        for volume in &self.volumes {
            let row = match volume {
                Some((motion, _)) => {
                    let values = motion.translation_mm.iter().chain(&motion.rotation_rad);
                    values.map(|value| format!("{value:.9}")).collect::<Vec<_>>().join("\t")
                }
                None => ["n/a"; 6].join("\t"),
            };
            writeln!(text, "{row}").expect("writing to a string succeeds");
        }
        text
    }
}
