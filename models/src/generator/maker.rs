//! The maker of clips: from the conditions of one window to pictures.
//!
//! Everything that a mode needs is opened and checked at once. After that a clip depends only on
//! its conditions, the seed and the index of its volume, not on earlier clips. So a replay makes
//! the same clips on the CPU, and several makers can share the work.

use corticast_bold::time::TrIndex;

use super::{
    Mode,
    animatediff::AnimateDiff,
    blurry::Blurry,
    clip::{ClipConditions, Frames, Pictures, Recipe},
    draw::Draws,
    frames::{self, Shown},
    keyframe::{self, Keyframe},
    prompt::PromptLayout,
    schedule::Schedule,
    scheduler::{Init, Sampler},
    set::{Coder, GraphChoice},
};
use crate::{
    conditions::{Conditions, Sizes},
    decoupler::Head,
    error::ModelError,
    manifest::{Manifest, NetworkFacts, Role, video::VideoManifest},
    network::{Network, Provider, Runtime},
    neurons,
    vocabulary::Vocabulary,
};

/// How clips are made.
#[derive(Clone, Debug, PartialEq)]
pub struct MakerOptions {
    /// The mode.
    pub mode: Mode,
    /// Number of steps from noise to a clip.
    pub steps: usize,
    /// Where a clip starts.
    pub init: Init,
    /// Strength of the guidance in mode `reference`; `None` for the set's default.
    pub guidance: Option<f32>,
    /// How strongly a clip follows the key frame.
    pub control_scale: f32,
    /// Frames that are decoded.
    pub shown: Shown,
    /// Which networks make up a step.
    pub graphs: GraphChoice,
    /// The picture coder.
    pub coder: Coder,
    /// Seed of the noise.
    pub seed: u64,
}

/// The networks of a decoding model that turn its conditions into pictures.
#[derive(Clone, Debug)]
pub struct ModelNetworks {
    /// Sizes of the conditions.
    pub sizes: Sizes,
    /// From latents to pictures.
    pub vae_decoder: NetworkFacts,
    /// From tokens to a key frame, if the model has that network.
    pub keyframe: Option<NetworkFacts>,
}

impl ModelNetworks {
    /// The networks of a model.
    ///
    /// # Errors
    ///
    /// Fails when the model does not give latents or has no network that decodes them.
    pub fn of(manifest: &Manifest) -> Result<Self, ModelError> {
        let roles = || -> String {
            let roles: Vec<&str> = manifest.networks.iter().map(|n| n.role.name()).collect();
            roles.join(", ")
        };
        let need = |role: Role| {
            manifest.network(role).ok_or_else(|| ModelError::Family {
                path: manifest.path(),
                family: "neurons",
                key: "network.role",
                found: roles(),
                expected: format!("`{role}` if it makes clips"),
            })
        };
        need(Role::Reconstruction)?;
        let vae_decoder = need(Role::VaeDecoder)?.clone();
        let n_class = manifest.network(Role::Concepts).map_or(0, |network| network.classes.len());
        let sizes = manifest.neurons.as_ref().map(|facts| neurons::sizes(facts, n_class));
        let sizes = sizes.ok_or(ModelError::ClipNeeds { head: Head::Reconstruction })?;
        Ok(Self { sizes, vae_decoder, keyframe: manifest.network(Role::Keyframe).cloned() })
    }
}

/// A clip and its blurry frames.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeClip {
    /// The clip.
    pub frames: Frames,
    /// The blurry frames.
    pub blurry: Frames,
    /// Whether the caption was cut because the text encoder takes fewer tokens.
    pub caption_cut: bool,
}

/// A maker of clips. See the module docs.
#[derive(Debug)]
pub struct Maker {
    options: MakerOptions,
    blurry: Blurry,
    keyframe: Option<Keyframe>,
    stage: Option<Stage>,
    /// Number of steps of each clip.
    n_step: usize,
}

/// The networks and settings of the modes that need more than blurry frames.
#[derive(Debug)]
struct Stage {
    networks: AnimateDiff,
    recipe: Recipe,
    vocabulary: Vocabulary,
    layout: PromptLayout,
    suffix: String,
    negative: Vec<i64>,
}

impl Maker {
    /// Opens the networks of a mode and runs each once. Mode `still` ignores `set`.
    ///
    /// # Errors
    ///
    /// Fails when the set lacks what the mode needs or does not fit the model, or
    /// when a network cannot be opened.
    pub fn open(
        options: MakerOptions,
        model: &ModelNetworks,
        set: Option<&VideoManifest>,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let stage = match (options.mode, set) {
            (Mode::Still, _) => None,
            (mode, None) => return Err(ModelError::NoSet { mode }),
            (_, Some(set)) => Some(Stage::open(&options, model.sizes.n_frame, set, runtime)?),
        };
        // Mode `still` shows the blurry frames, so it needs no key frame.
        let keyframe = model.keyframe.as_ref().filter(|_| stage.is_some());
        let keyframe = keyframe.map(|network| Keyframe::open(network, options.seed, runtime));
        Ok(Self {
            blurry: Blurry::open(&model.vae_decoder, model.sizes, runtime)?,
            keyframe: keyframe.transpose()?,
            n_step: stage.as_ref().map_or(0, |stage| stage.recipe.plan.len()),
            stage,
            options,
        })
    }

    /// How clips are made.
    #[must_use]
    pub fn options(&self) -> &MakerOptions {
        &self.options
    }

    /// Number of steps of each clip.
    #[must_use]
    pub fn n_step(&self) -> usize {
        self.n_step
    }

    /// Where the networks run: on the GPU only if all do.
    #[must_use]
    pub fn provider(&self) -> Provider {
        let on_cpu = |network: &&dyn Network| network.provider() == Provider::Cpu;
        if self.networks().iter().any(on_cpu) { Provider::Cpu } else { Provider::Cuda }
    }

    /// Why a network runs on the CPU although `auto` prefers CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.networks().into_iter().find_map(|network| network.fallback_reason())
    }

    /// Makes the clip of the window whose newest volume has this index. `go_on` is called before
    /// the first step and after each, with the number of steps done; it cancels the clip by
    /// returning `false`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Cancelled`] when `go_on` returned `false`. Otherwise fails when the conditions
    /// lack an input of the clip, when inference fails, or when an output is not finite. The next
    /// clip may succeed.
    pub fn make(
        &mut self,
        conditions: &Conditions,
        tr: TrIndex,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<MadeClip, ModelError> {
        let (pixels, _) = self.blurry.decode(conditions)?;
        let edge = self.blurry.edge();
        let n_blurry = conditions.sizes.n_frame;
        let blurry = Frames { rgb: frames::to_bytes(&pixels), n: n_blurry, edge };
        let Some(stage) = &mut self.stage else {
            return Ok(MadeClip { frames: blurry.clone(), blurry, caption_cut: false });
        };
        let made = match &mut self.keyframe {
            Some(network) => Some((network.picture(conditions)?, network.edge())),
            None => None,
        };
        let caption = conditions.caption.as_deref().unwrap_or_default();
        let prompt = stage.vocabulary.prompt(&format!("{caption}{}", stage.suffix), &stage.layout);
        let mut draws = Draws::new(self.options.seed, tr);
        let clip = ClipConditions {
            prompt: &prompt.ids,
            negative: &stage.negative,
            blurry: Pictures { pixels: &pixels, edge },
            keyframe: keyframe::of(made.as_ref(), &pixels, edge),
        };
        let draw = |what, block: &mut [f32]| draws.fill(what, block);
        let frames = stage.networks.generate(&clip, &stage.recipe, draw, |done, _| go_on(done))?;
        Ok(MadeClip { frames, blurry, caption_cut: prompt.is_cut })
    }

    /// Every network.
    #[must_use]
    pub fn networks(&self) -> Vec<&dyn Network> {
        let mut networks = vec![self.blurry.network()];
        networks.extend(self.keyframe.iter().map(Keyframe::network));
        networks.extend(self.stage.iter().flat_map(|stage| stage.networks.networks()));
        networks
    }
}

impl Stage {
    fn open(
        options: &MakerOptions,
        n_blurry: usize,
        set: &VideoManifest,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let is_guided = options.mode == Mode::Reference;
        let sizes = set.clip_sizes(n_blurry)?;
        let sampler = match options.mode {
            Mode::Reference => Sampler::Ddim { steps: options.steps, eta: 0.0 },
            Mode::Live | Mode::Still => Sampler::Lcm { steps: options.steps },
        };
        let schedule = Schedule::new(set.training);
        let recipe = Recipe {
            plan: schedule.plan(sampler, options.init)?,
            guidance: is_guided.then(|| options.guidance.unwrap_or(set.guidance)),
            control_scale: options.control_scale,
            shown: options.shown,
        };
        let facts = &set.prompt;
        let end_id = usize::try_from(facts.end_id).unwrap_or_default();
        let vocabulary = Vocabulary::read(&facts.vocabulary, end_id)?;
        let layout = PromptLayout {
            start_id: facts.start_id,
            end_id: facts.end_id,
            pad_id: facts.pad_id,
            n_token: sizes.n_text_token,
        };
        let networks = set.choose(is_guided, options.graphs, options.coder)?;
        let networks = AnimateDiff::open(&networks, sizes, schedule, runtime)?;
        set.check_files(&networks.networks())?;
        Ok(Self {
            negative: vocabulary.prompt(&facts.negative, &layout).ids,
            suffix: facts.suffix.clone(),
            networks,
            recipe,
            vocabulary,
            layout,
        })
    }
}

/// Distance of conditions from earlier ones; near 0 the clips would hardly differ. It is the root
/// mean square of the difference of the blurry latents over the root mean square of the earlier
/// latents. Without latents, or with another caption, it is infinite.
#[must_use]
pub fn distance(conditions: &Conditions, before: &Conditions) -> f64 {
    let (Some(now), Some(then)) = (&conditions.latents, &before.latents) else {
        return f64::INFINITY;
    };
    if conditions.caption != before.caption || now.len() != then.len() {
        return f64::INFINITY;
    }
    let square = |value: f32| f64::from(value) * f64::from(value);
    let apart: f64 = now.iter().zip(then).map(|(a, b)| square(a - b)).sum();
    let size: f64 = then.iter().map(|&value| square(value)).sum();
    if apart > 0.0 { (apart / size).sqrt() } else { 0.0 }
}
