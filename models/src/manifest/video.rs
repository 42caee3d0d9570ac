//! `video.toml`: the networks that make clips, and the constants they were trained with.
//!
//! A set is a folder that `corticast-train export-animatediff` or `tiny-video` wrote. As with a
//! model, everything is checked once, when it is read: the SHA-256 of every file, the sizes, that
//! the noise schedule is the one that can be sampled, and which networks make up a step in which
//! mode.

mod facts;
mod training;
mod written;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::written::Written;
pub use self::{
    facts::{ClipGraphs, Graphs, Precision, PromptFacts, Shapes, StepGraphs, VideoSizes},
    training::Training,
};
use super::{
    error::ManifestError,
    file::hex,
    network::{self, NetworkFacts},
    read::Document,
    role::Role,
};

/// Name of the manifest in a set's folder.
pub const FILE_NAME: &str = "video.toml";
/// The format that is read.
pub const FORMAT: u32 = 1;

/// A set of networks that make clips, read and checked.
#[derive(Clone, Debug)]
pub struct VideoManifest {
    /// The set's folder.
    pub dir: PathBuf,
    /// The set's name, in metrics and recordings.
    pub name: String,
    /// SHA-256 of the manifest. The manifest holds the SHA-256 of every file, so two copies of a
    /// set have the same value.
    pub sha256: String,
    /// Precision that the networks compute in.
    pub precision: Precision,
    /// Whether sizes are fixed in the graphs.
    pub shapes: Shapes,
    /// Sizes of a clip.
    pub sizes: VideoSizes,
    /// The noise that the networks were trained with.
    pub training: Training,
    /// Default strength of the guidance in mode `reference`.
    pub guidance: f32,
    /// Whether a network was trained for few steps.
    pub is_distilled: bool,
    /// Factor that latents are multiplied by.
    pub vae_scale: f32,
    /// Prompts, and how they are turned into ids.
    pub prompt: PromptFacts,
    /// The networks; each role at most once. The SHA-256 of every file matched.
    pub networks: Vec<NetworkFacts>,
    /// The networks that make up a step in each mode.
    pub graphs: Graphs,
}

impl VideoManifest {
    /// Reads `video.toml` in `dir` and compares the SHA-256 of every file it names.
    ///
    /// # Errors
    ///
    /// See [`super::Manifest::read`].
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let document = Document::read(dir.join(FILE_NAME), FORMAT)?;
        let written: Written = document.parse()?;
        let name = document.name(written.name)?;
        written::check_sizes(&written.sizes, &document)?;
        let training = written.scheduler.training(&written.lcm, &document)?;
        let guidance = written.scheduler.guidance(&document)?;
        let vae_scale = written.vae.scale(&document)?;
        let networks = network::check_all(written.network, dir, &document)?;
        for role in written.graphs.roles() {
            if network::find(&networks, role).is_none() {
                let reason = format!("names `{role}`, which is not a network of the set");
                return Err(document.refuse("graphs", reason));
            }
        }
        Ok(Self {
            dir: dir.into(),
            name,
            sha256: hex(Sha256::new_with_prefix(document.text())),
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
        network::find(&self.networks, role)
    }

    /// The manifest's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
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
    fn a_missing_or_damaged_file_is_named() {
        let set = edited_video("name = \"video\"", "name = \"other\"");
        std::fs::remove_file(set.path().join("unet.data")).unwrap();
        let message = VideoManifest::read(set.path()).unwrap_err().to_string();
        assert!(message.contains("unet.data"), "{message}");
        std::fs::write(set.path().join("unet.data"), "damaged").unwrap();
        let message = VideoManifest::read(set.path()).unwrap_err().to_string();
        assert!(message.contains("SHA-256"), "{message}");
        let message = refusal("\"unet\",\n]\n\n[graphs.live]", "\"unet_lcm\",\n]\n\n[graphs.live]");
        assert!(message.contains("`unet_lcm`, which is not a network of the set"), "{message}");
    }

    #[test]
    fn invalid_sizes_and_noise_schedules_are_refused() {
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
