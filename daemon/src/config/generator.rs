//! The `[generator]` section: how clips are made from decoded conditions.
//!
//! Without this section, no clips are made. Unset keys default to the values that the network set
//! was exported with.

use std::{num::NonZeroUsize, ops::Deref, path::PathBuf};

use corticast_models::{
    generator::{
        Mode,
        frames::Shown,
        maker::MakerOptions,
        scheduler::Init,
        set::{Coder, GraphChoice},
    },
    runtime::provider::Device,
};
use serde::{Deserialize, Serialize};

/// Default steps of mode `live`.
const LIVE_STEPS: usize = 4;
/// Default steps of mode `reference`.
const REFERENCE_STEPS: usize = 25;

/// How clips are made, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct GeneratorConfig(Written);

/// The written form of the section; within a [`GeneratorConfig`] its values are in range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// Whether clips are made, and how.
    pub mode: ModeChoice,
    /// Folder of the video networks (`video.toml`). Not needed with mode `still`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Steps from noise to a clip. Left out: 4 in mode `live`, 25 in mode `reference`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<NonZeroUsize>,
    /// The noise or picture that a clip starts from.
    pub init: InitChoice,
    /// With init `sdedit`: share of noise in the starting clip, from 0 (blurry clip) to 1 (noise).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// In mode `reference`: weight of the prompt. Left out: the value of the network set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f32>,
    /// Weight of the key frame; 1 as in training.
    pub control_scale: f32,
    /// Frames of a clip that are decoded.
    pub frames: FramesChoice,
    /// Variant of the networks of a step.
    pub graphs: GraphChoice,
    /// Variant of the picture coder.
    pub coder: Coder,
    /// Seed of the noise of clips. The same seed gives the same clips.
    pub seed: u32,
    /// Whether a clip is finished or dropped when newer conditions arrive while it is made.
    pub when_superseded: WhenSuperseded,
    /// Relative difference to the conditions of the last clip below which no new clip is made. 0: a
    /// clip for all conditions.
    pub skip_similar: f64,
    /// Shortest time from the start of one clip to that of the next, in seconds.
    pub min_interval_s: f64,
    /// Longest time for a clip, in seconds. Left out: ten times the average, at least 30 s; 10
    /// minutes before the first clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_deadline_s: Option<f64>,
    /// Device on which the networks run.
    pub device: Device,
    /// Number of the GPU, from 0.
    pub gpu: u8,
    /// Threads that share one operation on the CPU.
    pub threads: NonZeroUsize,
    /// Endpoint for `corticast generate` workers, which then make the clips instead of the
    /// daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<String>,
}

/// Whether clips are made, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeChoice {
    /// No clips.
    #[default]
    Off,
    /// The blurry frames, unchanged.
    Still,
    /// Few steps, without guidance.
    Live,
    /// Many steps, with guidance.
    Reference,
}

/// The noise or picture that a clip starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitChoice {
    /// From almost pure noise, as NEURONS does for any value of its `low_strength`.
    #[default]
    Reference,
    /// From the blurry clip with noise; `strength` sets the amount.
    Sdedit,
}

/// Frames of a clip that are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FramesChoice {
    /// All.
    #[default]
    All,
    /// The six that NEURONS evaluates.
    Evaluated,
}

/// Whether a clip is finished or dropped when newer conditions arrive while it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenSuperseded {
    /// The clip is finished.
    #[default]
    Finish,
    /// The clip is dropped between two steps, unless the previous clip was dropped too: some clips
    /// are always shown.
    Abort,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            mode: ModeChoice::default(),
            dir: None,
            steps: None,
            init: InitChoice::default(),
            strength: None,
            guidance: None,
            control_scale: 1.0,
            frames: FramesChoice::default(),
            graphs: GraphChoice::default(),
            coder: Coder::default(),
            seed: 0,
            when_superseded: WhenSuperseded::default(),
            skip_similar: 0.0,
            min_interval_s: 0.0,
            clip_deadline_s: None,
            device: Device::default(),
            gpu: 0,
            threads: NonZeroUsize::MIN,
            workers: None,
        }
    }
}

/// Why a `[generator]` section is invalid.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum GeneratorConfigError {
    /// Clips without the networks that make them.
    #[error("`mode` is {0:?}, but `dir` with video networks is not set; `still` needs none")]
    NoSet(&'static str),
    /// A number is out of range.
    #[error("`{key}` is {found}, expected {expected}")]
    Number {
        /// Name of the key.
        key: &'static str,
        /// Value found.
        found: f64,
        /// Values allowed.
        expected: &'static str,
    },
    /// A key is set without the key that it depends on.
    #[error("`{key}` is set, but it has an effect only with {with}")]
    Without {
        /// Name of the key.
        key: &'static str,
        /// The setting that it needs.
        with: &'static str,
    },
    /// A required key is missing.
    #[error("init \"sdedit\" needs `strength`, 0 to 1")]
    NoStrength,
}

impl TryFrom<Written> for GeneratorConfig {
    type Error = GeneratorConfigError;

    fn try_from(written: Written) -> Result<Self, GeneratorConfigError> {
        let number = |key, found: f64, most: f64, expected| {
            if (0.0..=most).contains(&found) {
                Ok(())
            } else {
                Err(GeneratorConfigError::Number { key, found, expected })
            }
        };
        let diffuses = matches!(written.mode, ModeChoice::Live | ModeChoice::Reference);
        if diffuses && written.dir.is_none() {
            return Err(GeneratorConfigError::NoSet(written.mode.name()));
        }
        number("strength", written.strength.unwrap_or(0.0), 1.0, "0 to 1")?;
        number("guidance", f64::from(written.guidance.unwrap_or(0.0)), 100.0, "0 to 100")?;
        number("control_scale", f64::from(written.control_scale), 10.0, "0 to 10")?;
        number("skip_similar", written.skip_similar, f64::MAX, "0 or more")?;
        number("min_interval_s", written.min_interval_s, 3600.0, "0 to 3600")?;
        if let Some(found) = written.clip_deadline_s.filter(|s| !(1.0..=86_400.0).contains(s)) {
            let (key, expected) = ("clip_deadline_s", "1 to 86400");
            return Err(GeneratorConfigError::Number { key, found, expected });
        }
        match (written.init, written.strength) {
            (InitChoice::Sdedit, None) => return Err(GeneratorConfigError::NoStrength),
            (InitChoice::Reference, Some(_)) => {
                let with = "init = \"sdedit\"";
                return Err(GeneratorConfigError::Without { key: "strength", with });
            }
            _ => {}
        }
        if written.guidance.is_some() && written.mode != ModeChoice::Reference {
            let with = "mode = \"reference\"";
            return Err(GeneratorConfigError::Without { key: "guidance", with });
        }
        Ok(Self(written))
    }
}

impl Deref for GeneratorConfig {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.0
    }
}

impl ModeChoice {
    /// The mode as it is written in the file.
    fn name(self) -> &'static str {
        self.mode().map_or("off", Mode::name)
    }

    /// How clips are made; `None` when no clips are made.
    #[must_use]
    pub fn mode(self) -> Option<Mode> {
        match self {
            Self::Off => None,
            Self::Still => Some(Mode::Still),
            Self::Live => Some(Mode::Live),
            Self::Reference => Some(Mode::Reference),
        }
    }
}

impl GeneratorConfig {
    /// The options for the clip maker; `None` when no clips are made.
    #[must_use]
    pub fn options(&self) -> Option<MakerOptions> {
        let mode = self.mode.mode()?;
        let steps = match mode {
            Mode::Still | Mode::Live => LIVE_STEPS,
            Mode::Reference => REFERENCE_STEPS,
        };
        Some(MakerOptions {
            mode,
            steps: self.steps.map_or(steps, NonZeroUsize::get),
            init: match (self.init, self.strength) {
                (InitChoice::Sdedit, Some(strength)) => Init::Sdedit { strength },
                _ => Init::Reference,
            },
            guidance: self.guidance,
            control_scale: self.control_scale,
            shown: match self.frames {
                FramesChoice::All => Shown::All,
                FramesChoice::Evaluated => Shown::Evaluated,
            },
            graphs: self.graphs,
            coder: self.coder,
            seed: u64::from(self.seed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GeneratorConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_mode_has_its_steps_unless_somebody_says_otherwise() {
        let options = |text| read(text).unwrap().options();
        assert_eq!(options(""), None);
        assert_eq!(options("mode = \"live\"\ndir = \"v\"").unwrap().steps, 4);
        assert_eq!(options("mode = \"reference\"\ndir = \"v\"").unwrap().steps, 25);
        let edited = options("mode = \"live\"\ndir = \"v\"\ninit = \"sdedit\"\nstrength = 0.3");
        assert_eq!(edited.unwrap().init, Init::Sdedit { strength: 0.3 });
        assert_eq!(options("mode = \"still\"").unwrap().mode, Mode::Still);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let live = "mode = \"live\"\ndir = \"v\"\n";
        for (text, expected) in [
            ("mode = \"live\"", "`mode` is \"live\", but `dir`"),
            ("mode = \"fast\"", "unknown variant `fast`"),
            (&format!("{live}init = \"sdedit\""), "needs `strength`"),
            (&format!("{live}strength = 0.3"), "only with init = \"sdedit\""),
            (&format!("{live}guidance = 2.0"), "only with mode = \"reference\""),
            (&format!("{live}steps = 0"), "nonzero"),
            ("control_scale = nan", "`control_scale` is NaN, expected 0 to 10"),
            ("skip_similar = -1.0", "`skip_similar` is -1"),
            ("clip_deadline_s = 0.5", "`clip_deadline_s` is 0.5, expected 1 to 86400"),
            ("min_interval = 1.0", "unknown field `min_interval`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let config = read("mode = \"reference\"\ndir = \"v\"\nguidance = 2.0").unwrap();
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
