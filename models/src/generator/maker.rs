//! The maker of clips: from the conditions of one window to pictures.
//!
//! Everything that a mode needs is opened and checked at once; after that a clip depends on its
//! conditions, its seed and the index of its volume alone, whatever was made before it. So a
//! replay makes the same clips on the CPU, and several makers can share the work.

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
    neurons,
    session::{Provider, Session, SessionOptions},
    vocabulary::Vocabulary,
};

/// How clips are made.
#[derive(Clone, Debug, PartialEq)]
pub struct MakerOptions {
    /// In which mode.
    pub mode: Mode,
    /// Steps from noise to a clip.
    pub steps: usize,
    /// Where a clip starts.
    pub init: Init,
    /// How far the prompt is followed, in mode `reference`; `None`: as the set says.
    pub guidance: Option<f32>,
    /// How far the key frame is followed.
    pub control_scale: f32,
    /// Frames that are decoded.
    pub shown: Shown,
    /// Which networks of a step.
    pub graphs: GraphChoice,
    /// Which picture coder.
    pub coder: Coder,
    /// What the noise is made of, with the index.
    pub seed: u64,
}

/// The networks of a model that a maker takes.
#[derive(Clone, Debug)]
pub struct ModelNetworks {
    /// Sizes of its conditions.
    pub sizes: Sizes,
    /// From its latents to pictures.
    pub vae_decoder: NetworkFacts,
    /// From its tokens to a key frame, where it has that.
    pub keyframe: Option<NetworkFacts>,
}

impl ModelNetworks {
    /// Those of a model.
    ///
    /// # Errors
    ///
    /// Fails when the model gives no latents, or has no decoder of them.
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
                expected: format!("`{role}` where clips are made"),
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

/// A clip and what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeClip {
    /// The clip.
    pub frames: Frames,
    /// The blurry frames.
    pub blurry: Frames,
    /// The words were more than the text encoder takes.
    pub caption_cut: bool,
}

/// A maker of clips. See the module docs.
#[derive(Debug)]
pub struct Maker {
    options: MakerOptions,
    blurry: Blurry,
    keyframe: Option<Keyframe>,
    stage: Option<Stage>,
    /// Steps of each clip.
    n_step: usize,
}

/// What makes more than blurry frames.
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
    /// Opens the networks of a mode and runs each once. `set` is not looked at in mode `still`.
    ///
    /// # Errors
    ///
    /// Fails when the set lacks what the mode needs or does not fit the model, or as
    /// [`Session::open`].
    pub fn open(
        options: MakerOptions,
        model: &ModelNetworks,
        set: Option<&VideoManifest>,
        session: &SessionOptions,
    ) -> Result<Self, ModelError> {
        let stage = match (options.mode, set) {
            (Mode::Still, _) => None,
            (mode, None) => return Err(ModelError::NoSet { mode }),
            (_, Some(set)) => Some(Stage::open(&options, model.sizes.n_frame, set, session)?),
        };
        // Blurry frames are shown as they are: nothing is held to a key frame.
        let keyframe = model.keyframe.as_ref().filter(|_| stage.is_some());
        let keyframe = keyframe.map(|network| Keyframe::open(network, options.seed, session));
        Ok(Self {
            blurry: Blurry::open(&model.vae_decoder, model.sizes, session)?,
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

    /// Steps that are taken for each clip.
    #[must_use]
    pub fn n_step(&self) -> usize {
        self.n_step
    }

    /// Where the networks run: on the GPU only if all do.
    #[must_use]
    pub fn provider(&self) -> Provider {
        let on_cpu = |session: &&Session| session.provider() == Provider::Cpu;
        if self.sessions().iter().any(on_cpu) { Provider::Cpu } else { Provider::Cuda }
    }

    /// Why a network runs on the CPU although `auto` would rather have had CUDA.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.sessions().into_iter().find_map(Session::fallback_reason)
    }

    /// Makes the clip of the window whose newest volume has this index. `go_on` is asked before
    /// the first step and after each, told how many are done, and ends the clip with `false`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Cancelled`] when `go_on` said so. Else fails when the conditions lack what
    /// a clip needs, or when inference fails or gives what is not finite. The next may succeed.
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
    pub fn sessions(&self) -> Vec<&Session> {
        let mut sessions = vec![self.blurry.session()];
        sessions.extend(self.keyframe.iter().map(Keyframe::session));
        sessions.extend(self.stage.iter().flat_map(|stage| stage.networks.sessions()));
        sessions
    }
}

impl Stage {
    fn open(
        options: &MakerOptions,
        n_blurry: usize,
        set: &VideoManifest,
        session: &SessionOptions,
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
        let networks = AnimateDiff::open(&networks, sizes, schedule, session)?;
        set.check_files(&networks.sessions())?;
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

/// How far conditions are from those before: 0 where a clip would hardly differ. Compared are
/// what pictures are made of: words, and blurry latents, as the root of the mean squared
/// difference over that of the latents themselves. Without latents, or with other words, they
/// are as far as can be.
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
