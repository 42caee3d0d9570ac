//! What `denoise` regresses out, and what it needs for that.

use serde::{Deserialize, Serialize};

use crate::{run::RunHeader, time::RepetitionTime};

/// Most cosines of a design; a longer run starts them again.
pub const MAX_COSINES: u32 = 16;
/// Most kept-in regressors.
pub const MAX_KEPT_IN: usize = 32;
/// Most nuisance masks.
const MAX_NUISANCE: usize = 32;
/// Expected sizes that are allowed, in s.d. of the noise.
const SIZES: std::ops::RangeInclusive<f64> = 1e-6..=100.0;

/// Which motion regressors are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MotionRegressors {
    /// None.
    #[default]
    #[serde(rename = "none")]
    None,
    /// The six parameters.
    #[serde(rename = "6")]
    Six,
    /// The six parameters, those of the volume before, and the squares of both (Friston et al.
    /// 1996, Magnetic Resonance in Medicine 35:346).
    #[serde(rename = "24")]
    TwentyFour,
}

/// Settings of the stage. The expected sizes are prior s.d. of the coefficients, in s.d. of a
/// voxel's noise; smaller is more cautious.
#[derive(Clone, Debug, PartialEq)]
pub struct DenoiseOptions {
    /// Whether a straight line is removed.
    pub linear: bool,
    /// Shortest period of the cosines that are removed, in s; without it there are none.
    pub high_pass_s: Option<f64>,
    /// Which motion regressors are removed.
    pub motion: MotionRegressors,
    /// Whether the means of the nuisance masks are removed.
    pub nuisance: bool,
    /// Number of kept-in regressors.
    pub n_kept_in: usize,
    /// Weight of a volume relative to the one after it; 1 forgets nothing.
    pub forget: f64,
    /// Whether the volume keeps its mean: for a normalisation that takes the mean out itself.
    /// Taking a growing mean out twice costs a decoder more than drift does.
    pub keep_mean: bool,
    /// Expected size of drift: change in 300 s, and amplitude of each cosine.
    pub drift_size: f64,
    /// Expected size of the effect of 1 mm of motion; rotations count as mm on a sphere of 50 mm.
    pub motion_size: f64,
    /// Expected size of the effect of a change of a nuisance mask by 1 % of its first mean.
    pub nuisance_size: f64,
    /// Expected size of the response to a kept-in regressor of 1.
    pub kept_in_size: f64,
}

impl Default for DenoiseOptions {
    fn default() -> Self {
        Self {
            linear: true,
            high_pass_s: None,
            motion: MotionRegressors::None,
            nuisance: false,
            n_kept_in: 0,
            forget: 1.0,
            keep_mean: true,
            drift_size: 0.1,
            motion_size: 0.3,
            nuisance_size: 0.3,
            kept_in_size: 1.0,
        }
    }
}

/// What the stages before this one deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenoiseInputs {
    /// Voxels of the mask.
    pub n_voxel: usize,
    /// Whether volumes have motion parameters.
    pub realigned: bool,
    /// Number of nuisance masks.
    pub n_nuisance: usize,
}

/// What is known of a run before its first volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedRun {
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// Volumes in the protocol, if the scanner reports them.
    pub n_volumes: Option<u32>,
    /// Centre of the volume, RAS+ mm. Rotations are taken about it.
    pub centre_mm: [f64; 3],
}

impl From<&RunHeader> for PlannedRun {
    fn from(header: &RunHeader) -> Self {
        Self {
            repetition_time: header.repetition_time,
            n_volumes: header.n_volumes,
            centre_mm: crate::quality::centre_mm(&header.space),
        }
    }
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidDenoise {
    /// A number is out of range.
    #[error("denoise: `{key}` must be {expected}, got {found}")]
    Range {
        /// Which setting.
        key: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// The value found.
        found: f64,
    },
    /// Motion regressors without motion.
    #[error(
        "denoise: motion regressors need the motion parameters of `realign`, which is off; turn \
         `realign` on or set `motion = \"none\"`"
    )]
    NotRealigned,
    /// Nuisance regressors without masks.
    #[error("denoise: `nuisance` is on, but there is no nuisance mask; name one or turn it off")]
    NoNuisanceMask,
}

impl DenoiseOptions {
    pub(super) fn check(&self, inputs: &DenoiseInputs) -> Result<(), InvalidDenoise> {
        let range = |key, expected, found, fine| {
            if fine { Ok(()) } else { Err(InvalidDenoise::Range { key, expected, found }) }
        };
        for (key, size) in [
            ("drift_size", self.drift_size),
            ("motion_size", self.motion_size),
            ("nuisance_size", self.nuisance_size),
            ("design_size", self.kept_in_size),
        ] {
            range(key, "from 1e-6 to 100", size, SIZES.contains(&size))?;
        }
        let forget = self.forget;
        range("forget", "from 0.5 to 1", forget, (0.5..=1.0).contains(&forget))?;
        if let Some(s) = self.high_pass_s {
            range("high_pass_s", "from 10 to 10000", s, (10.0..=10_000.0).contains(&s))?;
        }
        let n = self.n_kept_in;
        range("n_kept_in", "at most 32", n as f64, n <= MAX_KEPT_IN)?;
        let n = inputs.n_nuisance;
        range("number of nuisance masks", "at most 32", n as f64, n <= MAX_NUISANCE)?;
        if self.motion != MotionRegressors::None && !inputs.realigned {
            return Err(InvalidDenoise::NotRealigned);
        }
        if self.nuisance && inputs.n_nuisance == 0 {
            return Err(InvalidDenoise::NoNuisanceMask);
        }
        Ok(())
    }
}
