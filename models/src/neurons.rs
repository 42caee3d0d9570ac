//! The NEURONS family: brain model, diffusion prior and decoupler, from a window to conditions.
//!
//! ```text
//! window ─► brain model ─► prior, step by step ─► motion ─┬─► concepts ─► objects (best class)
//!                                                         ├─► reconstruction
//!                                                         └─► caption
//! ```
//!
//! Wang et al. 2025 (NEURONS). Brain model, prior and motion projection are required. A head is
//! used if the model has its networks and the configuration does not switch it off. All run on
//! the caller's thread, one after the other. The prior's noise is made ahead by another thread
//! ([`ahead`](crate::prior::ahead)).

use std::collections::BTreeSet;

use corticast_bold::volume::Window;

use crate::{
    brain_model::BrainModel,
    conditions::{Conditions, Sizes},
    decoupler::{
        Head, caption::CaptionHead, concepts::ConceptHead, head::HeadNetwork, motion::Motion,
        objects::ObjectHead, reconstruction::ReconstructionHead,
    },
    error::ModelError,
    manifest::{Manifest, NeuronsFacts, Role},
    network::{Network, Runtime},
    prior::{Prior, ahead::NoiseAhead, schedule::Sampler},
    readout::{HeadFailure, Readouts, Watch},
};

mod contract;

/// How a `neurons` model is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeuronsOptions {
    /// How the prior is sampled.
    pub sampler: Sampler,
    /// Seed of the prior's noise. See [`crate::prior::noise`].
    pub seed: u64,
    /// The heads to run; `None` for all that the model has.
    pub heads: Option<BTreeSet<Head>>,
}

/// A `neurons` model. See the module docs.
#[derive(Debug)]
pub struct Neurons {
    sizes: Sizes,
    noise: NoiseAhead,
    brain: BrainModel,
    prior: Prior,
    motion: Motion,
    concepts: Option<ConceptHead>,
    objects: Option<ObjectHead>,
    reconstruction: Option<ReconstructionHead>,
    caption: Option<CaptionHead>,
}

/// The heads that a model has, in the order in which they are run.
#[must_use]
pub fn heads_of(manifest: &Manifest) -> Vec<Head> {
    let has = |role| manifest.network(role).is_some();
    let there = |head: &Head| match head {
        Head::Concepts => has(Role::Concepts),
        Head::Objects => has(Role::Objects),
        Head::Reconstruction => has(Role::Reconstruction),
        Head::Caption => has(Role::CaptionDecoder),
    };
    Head::ALL.into_iter().filter(there).collect()
}

impl Neurons {
    /// Opens the model that a manifest describes.
    ///
    /// # Errors
    ///
    /// Fails when a network is missing or does not fit the family, when the configuration asks
    /// for a head that the model does not have, when a file beside the networks is invalid, or
    /// when a network cannot be opened.
    pub fn open(
        manifest: &Manifest,
        neurons: &NeuronsOptions,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        let facts = manifest.neurons.as_ref().expect("the family has its section");
        contract::check(manifest, facts)?;
        let available = heads_of(manifest);
        let heads = match &neurons.heads {
            None => available.clone(),
            Some(asked) => asked.iter().copied().collect(),
        };
        if let Some(&head) = heads.iter().find(|head| !available.contains(head)) {
            return Err(ModelError::NoHead { head, available });
        }
        if heads.contains(&Head::Objects) && !heads.contains(&Head::Concepts) {
            return Err(ModelError::HeadNeeds { head: Head::Objects, needs: Head::Concepts });
        }
        let network = |role: Role| manifest.network(role).expect("the contract was checked");
        let is_on = |head: Head| heads.contains(&head);
        let head = |role: Role| HeadNetwork::open(network(role), facts, runtime);
        let n_class = manifest.network(Role::Concepts).map_or(0, |network| network.classes.len());
        let concepts = || -> Result<_, ModelError> {
            let classes = &network(Role::Concepts).classes;
            Ok(ConceptHead::new(head(Role::Concepts)?, classes))
        };
        let objects = || {
            let states = facts.class_states.as_ref().expect("the contract was checked");
            ObjectHead::new(head(Role::Objects)?, facts, states, n_class)
        };
        let reconstruction = || -> Result<_, ModelError> {
            Ok(ReconstructionHead::new(head(Role::Reconstruction)?, facts))
        };
        let caption = || {
            let networks =
                [Role::CaptionPrefix, Role::CaptionEmbed, Role::CaptionDecoder].map(network);
            let facts = facts.caption.as_ref().expect("the contract was checked");
            CaptionHead::open(networks, facts, runtime)
        };
        let prior = Prior::open(network(Role::Prior), facts, neurons.sampler, runtime)?;
        Ok(Self {
            sizes: sizes(facts, n_class),
            noise: NoiseAhead::new(neurons.seed, prior.n_value(), prior.n_block()),
            brain: BrainModel::open(network(Role::Brain), manifest, facts, runtime)?,
            prior,
            motion: Motion::open(network(Role::Motion), facts, runtime)?,
            concepts: is_on(Head::Concepts).then(concepts).transpose()?,
            objects: is_on(Head::Objects).then(objects).transpose()?,
            reconstruction: is_on(Head::Reconstruction).then(reconstruction).transpose()?,
            caption: is_on(Head::Caption).then(caption).transpose()?,
        })
    }

    /// Decodes one window. `watch` is told when each part is done.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when brain model, prior or
    /// motion projection fail, or when `watch` cancels. The next window may succeed. A head that
    /// fails is listed in [`Readouts::failures`].
    pub fn decode(
        &mut self,
        window: &Window,
        watch: &mut dyn Watch,
    ) -> Result<Readouts, ModelError> {
        self.noise.start(window.tr);
        let brain_tokens = self.brain.embed(window)?;
        watch.done("brain");
        let mut sampling = self.prior.start(|block| self.noise.take(block));
        while self.prior.step(&mut sampling, &brain_tokens, |block| self.noise.take(block))? {
            if watch.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
        }
        let tokens = sampling.into_tokens();
        watch.done("prior");
        let frames = self.motion.spread(&tokens)?;
        watch.done("motion");

        let mut failures = Vec::new();
        let mut run = |head: Head, error: ModelError| failures.push(HeadFailure { head, error });
        let concepts = self.concepts.as_mut().and_then(|head| {
            let read = head.read(&frames).map_err(|error| run(Head::Concepts, error)).ok();
            watch.done("concepts");
            read
        });
        let mask = self.objects.as_mut().and_then(|head| {
            let needs = || ModelError::HeadNeeds { head: Head::Objects, needs: Head::Concepts };
            let class = concepts.as_ref().and_then(|concepts| concepts.best()).ok_or_else(needs);
            let read = class.and_then(|class| head.read(&frames, class));
            watch.done("objects");
            read.map_err(|error| run(Head::Objects, error)).ok()
        });
        let latents = self.reconstruction.as_mut().and_then(|head| {
            let read = head.read(&frames);
            watch.done("reconstruction");
            read.map_err(|error| run(Head::Reconstruction, error)).ok()
        });
        let caption = self.caption.as_mut().and_then(|head| {
            let written = head.write(&frames.text_embed);
            watch.done("caption");
            written.map_err(|error| run(Head::Caption, error)).ok()
        });
        let (caption, caption_ids) = caption.map(|written| (written.text, written.ids)).unzip();
        let conditions = Conditions {
            sizes: self.sizes,
            brain_tokens,
            tokens,
            text_embed: frames.text_embed,
            probabilities: concepts.as_ref().map(|concepts| concepts.probabilities.clone()),
            mask,
            latents,
            caption_ids,
            caption: caption.clone(),
        };
        Ok(Readouts { concepts, caption, conditions: Some(conditions), failures })
    }

    /// Every loaded network, with its role.
    #[must_use]
    pub fn networks(&self) -> Vec<(Role, &dyn Network)> {
        let mut networks = vec![
            (Role::Brain, self.brain.network()),
            (Role::Prior, self.prior.network()),
            (Role::Motion, self.motion.network()),
        ];
        networks.extend(self.concepts.iter().map(|head| (Role::Concepts, head.network())));
        networks.extend(self.objects.iter().map(|head| (Role::Objects, head.network())));
        let reconstruction = self.reconstruction.iter();
        networks.extend(reconstruction.map(|head| (Role::Reconstruction, head.network())));
        if let Some(caption) = &self.caption {
            let roles = [Role::CaptionPrefix, Role::CaptionEmbed, Role::CaptionDecoder];
            networks.extend(roles.into_iter().zip(caption.networks()));
        }
        networks
    }

    /// The heads that are used, in their order.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        let there = |head: &Head| match head {
            Head::Concepts => self.concepts.is_some(),
            Head::Objects => self.objects.is_some(),
            Head::Reconstruction => self.reconstruction.is_some(),
            Head::Caption => self.caption.is_some(),
        };
        Head::ALL.into_iter().filter(there).collect()
    }

    /// Sizes of the conditions that a window gives.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Steps of the prior for each window.
    #[must_use]
    pub fn prior_steps(&self) -> usize {
        self.prior.plan().len()
    }
}

/// Sizes of a model's conditions.
pub(crate) fn sizes(facts: &NeuronsFacts, n_class: usize) -> Sizes {
    Sizes {
        n_frame: facts.n_frame,
        n_token: facts.n_token,
        channels: facts.channels,
        text_dim: facts.text_dim,
        latent: facts.latent,
        mask: facts.mask,
        n_class,
        caption_tokens: facts.caption.as_ref().map_or(0, |caption| caption.max_tokens),
    }
}

#[cfg(test)]
mod tests;
