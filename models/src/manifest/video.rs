//! `video.toml`: the networks that make clips, and the constants they were trained with.
//!
//! A set is a folder that `corticast-train export-animatediff` or `tiny-video` wrote. As with a
//! model, all of it is checked here, once: every file's SHA-256, that the sizes can be, that
//! the noise is of the one kind that is sampled, and which networks make up a step in which mode.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    ManifestError, NetworkFacts, Role, check_format, checked_name,
    network::{self, NetworkWritten},
    parse, read_text,
    written::{FileName, Hex64, verify},
};
use crate::{decoupler::reconstruction::LATENT_CHANNELS, generator::schedule::Training};

/// Name of the manifest in a set's folder.
pub const FILE_NAME: &str = "video.toml";
/// The format that is read.
pub const FORMAT: u32 = 1;
/// Most frames of a clip: AnimateDiff's motion modules know no more positions.
pub const MAX_FRAMES: usize = 32;
/// Largest edge of a latent frame: pictures of 1024 pixels.
const MAX_LATENT: usize = 128;
/// Pixels along the edge of one latent value.
const PIXELS_PER_LATENT: usize = 8;

/// A set of networks that make clips, read and checked.
#[derive(Clone, Debug)]
pub struct VideoManifest {
    /// The set's folder.
    pub dir: PathBuf,
    /// The set's name, in metrics and recordings.
    pub name: String,
    /// SHA-256 of the manifest, which names that of every file: two folders of one set agree.
    pub sha256: String,
    /// What the networks compute in.
    pub precision: Precision,
    /// Whether sizes are fixed in the graphs.
    pub shapes: Shapes,
    /// Sizes of a clip.
    pub sizes: VideoSizes,
    /// The noise that the networks were trained with.
    pub training: Training,
    /// How far the prompt is followed in mode `reference`, unless somebody says otherwise.
    pub guidance: f32,
    /// Whether few steps are what a network was trained for.
    pub is_distilled: bool,
    /// What latents were multiplied by.
    pub vae_scale: f32,
    /// Prompts, and how they become ids.
    pub prompt: PromptFacts,
    /// The networks; every file's SHA-256 was compared. No role comes twice.
    pub networks: Vec<NetworkFacts>,
    /// Which of them make up a step.
    pub graphs: Graphs,
}

/// What networks compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// Single precision.
    #[serde(rename = "fp32")]
    Fp32,
    /// Half precision.
    #[serde(rename = "fp16")]
    Fp16,
    /// Stored in half, computed in single precision.
    #[serde(rename = "fp16-storage")]
    Fp16Storage,
}

impl Precision {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Fp16Storage => "fp16-storage",
        }
    }
}

/// Whether sizes are fixed in graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shapes {
    /// One size, for speed.
    Static,
    /// Any.
    Dynamic,
}

/// Sizes of a set's clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoSizes {
    /// Frames of a clip.
    pub frames: usize,
    /// Most frames that the networks take.
    pub max_frames: usize,
    /// Edge of a latent frame.
    pub latent: usize,
    /// Edge of a frame in pixels.
    pub image: usize,
    /// Channels of a latent frame.
    pub latent_channels: usize,
    /// Ids of a prompt, with padding.
    pub text_tokens: usize,
    /// Channels of a text state.
    pub text_dim: usize,
    /// What SparseCtrl adds: so many tensors.
    pub residuals: usize,
}

/// Prompts of a set, and how they become ids.
#[derive(Clone, Debug)]
pub struct PromptFacts {
    /// What every caption is followed by.
    pub suffix: String,
    /// What a clip is guided away from.
    pub negative: String,
    /// The id that begins a prompt.
    pub start_id: i64,
    /// The id that ends a prompt.
    pub end_id: i64,
    /// The id that fills a prompt up.
    pub pad_id: i64,
    /// Names of the ids; its SHA-256 was compared.
    pub vocabulary: PathBuf,
}

/// Which networks make up a step in which mode; what is empty cannot be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graphs {
    /// Around the steps.
    pub clip: ClipGraphs,
    /// With guidance.
    #[serde(default)]
    pub reference: StepGraphs,
    /// Without.
    #[serde(default)]
    pub live: StepGraphs,
}

/// The networks around the steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipGraphs {
    /// From ids to text states.
    pub text: Vec<Role>,
    /// From pictures to latents and back.
    pub vae: Vec<Role>,
    /// The same, smaller.
    #[serde(default)]
    pub taesd: Vec<Role>,
}

/// The networks of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepGraphs {
    /// All in one.
    #[serde(default)]
    pub fused: Vec<Role>,
    /// SparseCtrl apart.
    #[serde(default)]
    pub split: Vec<Role>,
    /// Without SparseCtrl.
    #[serde(default)]
    pub uncontrolled: Vec<Role>,
}

impl VideoManifest {
    /// Reads `video.toml` in `dir` and compares the SHA-256 of every file it names.
    ///
    /// # Errors
    ///
    /// As [`super::Manifest::read`].
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(FILE_NAME);
        let text = read_text(&path)?;
        check_format(&path, &text, FORMAT)?;
        let written: Written = parse(&path, &text)?;
        let value = |key: &str, reason: String| ManifestError::Value {
            path: path.clone(),
            key: key.into(),
            reason,
        };
        let name = checked_name(written.name).map_err(|reason| value("name", reason))?;
        check_sizes(&written.sizes).map_err(|(key, reason)| value(key, reason))?;
        let training =
            written.scheduler.training(&written.lcm).map_err(|(key, reason)| value(key, reason))?;
        let guidance = written.scheduler.guidance;
        if !(guidance.is_finite() && guidance >= 0.0) {
            return Err(value("scheduler.guidance", format!("is {guidance}, expected 0 or more")));
        }
        let vae_scale = written.vae.scale;
        if !(vae_scale.is_finite() && vae_scale > 0.0) {
            return Err(value("vae.scale", format!("is {vae_scale}, expected more than 0")));
        }
        let networks = network::check_all(written.network, dir, &value)?;
        for role in written.graphs.roles() {
            if !networks.iter().any(|network| network.role == role) {
                let reason = format!("names `{role}`, which is no network of the set");
                return Err(value("graphs", reason));
            }
        }
        let digest = Sha256::digest(text.as_bytes());
        Ok(Self {
            dir: dir.into(),
            name,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            precision: written.precision,
            shapes: written.shapes,
            sizes: written.sizes,
            training,
            guidance,
            is_distilled: written.lcm.distilled,
            vae_scale,
            prompt: written.prompt.check(dir)?,
            networks,
            graphs: written.graphs,
        })
    }

    /// The network of a role, if the set has it.
    #[must_use]
    pub fn network(&self, role: Role) -> Option<&NetworkFacts> {
        self.networks.iter().find(|network| network.role == role)
    }

    /// The manifest's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }
}

impl Graphs {
    /// Every network that a mode names.
    fn roles(&self) -> impl Iterator<Item = Role> {
        let Self { clip, reference, live } = self;
        let steps = [reference, live];
        let steps = steps.map(|step| [&step.fused, &step.split, &step.uncontrolled]);
        let clip = [&clip.text, &clip.vae, &clip.taesd];
        clip.into_iter().chain(steps.into_iter().flatten()).flatten().copied()
    }
}

/// Why a value is refused, with its key.
type Refused = (&'static str, String);

fn check_sizes(sizes: &VideoSizes) -> Result<(), Refused> {
    let within = |key, found: usize, most: usize| {
        if (1..=most).contains(&found) {
            Ok(())
        } else {
            Err((key, format!("is {found}, expected 1 to {most}")))
        }
    };
    within("sizes.max_frames", sizes.max_frames, MAX_FRAMES)?;
    within("sizes.frames", sizes.frames, sizes.max_frames)?;
    within("sizes.latent", sizes.latent, MAX_LATENT)?;
    within("sizes.text_tokens", sizes.text_tokens, 1024)?;
    within("sizes.text_dim", sizes.text_dim, 8192)?;
    for (key, found, expected) in [
        ("sizes.image", sizes.image, PIXELS_PER_LATENT * sizes.latent),
        ("sizes.latent_channels", sizes.latent_channels, LATENT_CHANNELS),
    ] {
        if found != expected {
            return Err((key, format!("is {found}, expected {expected}")));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "format")]
    _format: i64,
    #[serde(rename = "family")]
    _family: FamilyWritten,
    name: String,
    precision: Precision,
    shapes: Shapes,
    sizes: VideoSizes,
    scheduler: SchedulerWritten,
    lcm: LcmWritten,
    vae: VaeWritten,
    prompt: PromptWritten,
    graphs: Graphs,
    network: Vec<NetworkWritten>,
    #[serde(default, rename = "provenance")]
    _provenance: toml::Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FamilyWritten {
    AnimateDiff,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchedulerWritten {
    train_steps: usize,
    beta_start: f64,
    beta_end: f64,
    beta_schedule: String,
    prediction: String,
    steps_offset: usize,
    spacing: String,
    set_alpha_to_one: bool,
    clip_sample: bool,
    guidance: f32,
}

impl SchedulerWritten {
    /// Refuses a noise that is not sampled here: it would look like a clip and be none.
    fn training(&self, lcm: &LcmWritten) -> Result<Training, Refused> {
        for (key, found, expected) in [
            ("scheduler.beta_schedule", self.beta_schedule.as_str(), "linear"),
            ("scheduler.prediction", &self.prediction, "epsilon"),
            ("scheduler.spacing", &self.spacing, "leading"),
        ] {
            if found != expected {
                return Err((key, format!("is {found:?}, expected {expected:?}")));
            }
        }
        for (key, found, expected) in [
            ("scheduler.set_alpha_to_one", self.set_alpha_to_one, true),
            ("scheduler.clip_sample", self.clip_sample, false),
        ] {
            if found != expected {
                return Err((key, format!("is {found}, expected {expected}")));
            }
        }
        let is_share = |beta: f64| beta > 0.0 && beta < 1.0;
        if !(is_share(self.beta_start) && is_share(self.beta_end)) {
            let found = format!("from {} to {}", self.beta_start, self.beta_end);
            return Err(("scheduler.beta_start", format!("goes {found}, expected within 0 and 1")));
        }
        if !(1..=10_000).contains(&self.train_steps) {
            let found = self.train_steps;
            return Err(("scheduler.train_steps", format!("is {found}, expected 1 to 10000")));
        }
        if self.steps_offset >= self.train_steps {
            let reason = format!("is {}, expected less than `train_steps`", self.steps_offset);
            return Err(("scheduler.steps_offset", reason));
        }
        if !(1..=self.train_steps).contains(&lcm.original_steps) {
            let reason = format!("is {}, expected 1 to `train_steps`", lcm.original_steps);
            return Err(("lcm.original_steps", reason));
        }
        let is_positive = |found: f64| found.is_finite() && found > 0.0;
        if !(is_positive(lcm.timestep_scaling) && is_positive(lcm.sigma_data)) {
            return Err(("lcm", "holds what is not more than 0".into()));
        }
        Ok(Training {
            timesteps: self.train_steps,
            first_beta: self.beta_start,
            last_beta: self.beta_end,
            steps_offset: self.steps_offset,
            lcm_grid: lcm.original_steps,
            lcm_timestep_scaling: lcm.timestep_scaling,
            lcm_sigma_data: lcm.sigma_data,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LcmWritten {
    original_steps: usize,
    timestep_scaling: f64,
    sigma_data: f64,
    distilled: bool,
    #[serde(rename = "adapter")]
    _adapter: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaeWritten {
    scale: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptWritten {
    suffix: String,
    negative: String,
    start_id: i64,
    end_id: i64,
    pad_id: i64,
    vocabulary: FileName,
    vocabulary_sha256: Hex64,
}

impl PromptWritten {
    fn check(self, dir: &Path) -> Result<PromptFacts, ManifestError> {
        let vocabulary = dir.join(self.vocabulary.0);
        verify(&vocabulary, &self.vocabulary_sha256)?;
        Ok(PromptFacts {
            suffix: self.suffix,
            negative: self.negative,
            start_id: self.start_id,
            end_id: self.end_id,
            pad_id: self.pad_id,
            vocabulary,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{edited_video, video};

    fn refusal(from: &str, to: &str) -> String {
        VideoManifest::read(edited_video(from, to).path()).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_set_becomes_types() {
        let set = VideoManifest::read(&video()).unwrap();
        assert_eq!((set.sizes.frames, set.sizes.image), (16, 64));
        assert_eq!((set.precision, set.shapes), (Precision::Fp16Storage, Shapes::Static));
        assert_eq!(set.training, Training::default());
        assert_eq!(set.graphs.live.fused, [Role::DenoiseStepPlain]);
        assert!(set.network(Role::TextEncoder).is_some());
        assert!(set.prompt.vocabulary.is_file());
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        let set = edited_video("name = \"video\"", "name = \"other\"");
        std::fs::remove_file(set.path().join("unet.data")).unwrap();
        let message = VideoManifest::read(set.path()).unwrap_err().to_string();
        assert!(message.contains("unet.data"), "{message}");
        std::fs::write(set.path().join("unet.data"), "damaged").unwrap();
        let message = VideoManifest::read(set.path()).unwrap_err().to_string();
        assert!(message.contains("SHA-256"), "{message}");
        let message = refusal("\"unet\",\n]\n\n[graphs.live]", "\"unet_lcm\",\n]\n\n[graphs.live]");
        assert!(message.contains("`unet_lcm`, which is no network of the set"), "{message}");
    }

    #[test]
    fn sizes_and_noise_that_cannot_be_are_refused() {
        for (from, to, expected) in [
            ("max_frames = 16", "max_frames = 33", "`sizes.max_frames`: is 33, expected 1 to 32"),
            ("frames = 16\nmax", "frames = 17\nmax", "`sizes.frames`: is 17, expected 1 to 16"),
            ("image = 64", "image = 65", "`sizes.image`: is 65, expected 64"),
            ("\"linear\"", "\"scaled_linear\"", "expected \"linear\""),
            ("clip_sample = false", "clip_sample = true", "is true, expected false"),
            ("beta_end = 0.012", "beta_end = 1.5", "within 0 and 1"),
            ("guidance = 1.5", "guidance = nan", "expected 0 or more"),
            ("format = 1", "format = 2", "format 2, this version reads format 1"),
            ("precision = \"fp16-storage\"", "precision = \"int8\"", "unknown variant `int8`"),
        ] {
            let message = refusal(from, to);
            assert!(message.contains(expected), "{message}");
        }
    }
}
