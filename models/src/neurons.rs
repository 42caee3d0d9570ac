//! The NEURONS family: brain model, diffusion prior and decoupler, from a window to conditions.
//!
//! ```text
//! window ─► brain model ─► prior, step by step ─► motion ─┬─► concepts ─► objects (best class)
//!                                                         ├─► reconstruction
//!                                                         └─► caption
//! ```
//!
//! Wang et al. 2025 (NEURONS). Brain model, prior and motion projection are needed; each head is
//! there if the model has its networks and the configuration did not switch it off. All run on
//! the caller's thread, one after the other.

use std::collections::BTreeSet;

use corticast_bold::volume::Window;

use crate::{
    brain_model::BrainModel,
    conditions::{Conditions, Sizes},
    decoupler::{
        Head, caption::CaptionHead, concepts::ConceptHead, motion::Motion, objects::ObjectHead,
        reconstruction::ReconstructionHead,
    },
    error::ModelError,
    manifest::{Manifest, NeuronsFacts, Role},
    prior::{Prior, noise::Noise, schedule::Sampler},
    readout::{HeadFailure, Readouts, Watch},
    session::{Session, SessionOptions},
};

mod contract;

/// How a `neurons` model is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeuronsOptions {
    /// How the prior is sampled.
    pub sampler: Sampler,
    /// What the prior's noise is made of. See [`crate::prior::noise`].
    pub seed: u64,
    /// The heads to run. `None`: all that the model has.
    pub heads: Option<BTreeSet<Head>>,
}

/// A `neurons` model. See the module docs.
#[derive(Debug)]
pub struct Neurons {
    sizes: Sizes,
    seed: u64,
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
    /// Fails when a network is missing or takes or gives something else than the family does,
    /// when a head is asked for that the model does not have, when a file beside the networks
    /// is not what it should be, or as [`Session::open`].
    pub fn open(
        manifest: &Manifest,
        neurons: &NeuronsOptions,
        options: &SessionOptions,
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
        let n_class = manifest.network(Role::Concepts).map_or(0, |network| network.classes.len());
        let objects = || {
            let states = facts.class_states.as_ref().expect("the contract was checked");
            ObjectHead::open(network(Role::Objects), facts, states, n_class, options)
        };
        let caption = || {
            let networks =
                [Role::CaptionPrefix, Role::CaptionEmbed, Role::CaptionDecoder].map(network);
            let facts = facts.caption.as_ref().expect("the contract was checked");
            CaptionHead::open(networks, facts, options)
        };
        Ok(Self {
            sizes: sizes(facts, n_class),
            seed: neurons.seed,
            brain: BrainModel::open(network(Role::Brain), manifest, facts, options)?,
            prior: Prior::open(network(Role::Prior), facts, neurons.sampler, options)?,
            motion: Motion::open(network(Role::Motion), facts, options)?,
            concepts: is_on(Head::Concepts)
                .then(|| ConceptHead::open(network(Role::Concepts), facts, options))
                .transpose()?,
            objects: is_on(Head::Objects).then(objects).transpose()?,
            reconstruction: is_on(Head::Reconstruction)
                .then(|| ReconstructionHead::open(network(Role::Reconstruction), facts, options))
                .transpose()?,
            caption: is_on(Head::Caption).then(caption).transpose()?,
        })
    }

    /// Decodes one window. `watch` is told of each part that is done.
    ///
    /// # Errors
    ///
    /// Fails when the window has another shape than the model takes, when brain model, prior or
    /// motion projection fail, or when `watch` ends it. The next window may succeed. A head that
    /// fails is among [`Readouts::failures`].
    pub fn decode(
        &mut self,
        window: &Window,
        watch: &mut dyn Watch,
    ) -> Result<Readouts, ModelError> {
        let brain_tokens = self.brain.embed(window)?;
        watch.done("brain");
        let mut noise = Noise::new(self.seed, window.tr);
        let mut sampling = self.prior.start(|block| noise.fill(block));
        while self.prior.step(&mut sampling, &brain_tokens, |block| noise.fill(block))? {
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

    /// Every network that is loaded, with its role.
    #[must_use]
    pub fn sessions(&self) -> Vec<(Role, &Session)> {
        let mut sessions = vec![
            (Role::Brain, self.brain.session()),
            (Role::Prior, self.prior.session()),
            (Role::Motion, self.motion.session()),
        ];
        sessions.extend(self.concepts.iter().map(|head| (Role::Concepts, head.session())));
        sessions.extend(self.objects.iter().map(|head| (Role::Objects, head.session())));
        let reconstruction = self.reconstruction.iter();
        sessions.extend(reconstruction.map(|head| (Role::Reconstruction, head.session())));
        if let Some(caption) = &self.caption {
            let roles = [Role::CaptionPrefix, Role::CaptionEmbed, Role::CaptionDecoder];
            sessions.extend(roles.into_iter().zip(caption.sessions()));
        }
        sessions
    }

    /// The heads that are run, in their order.
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

    /// Sizes of what a window gives.
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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        fixtures::{edited_of, model, window},
        session::Device,
    };
    use corticast_bold::time::TrIndex;

    const ONE_STEP: Sampler = Sampler::Ddim { steps: 1 };

    fn open(dir: &Path, options: &NeuronsOptions) -> Result<Neurons, ModelError> {
        let cpu = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
        Neurons::open(&Manifest::read(dir)?, options, &cpu)
    }

    fn with(sampler: Sampler, seed: u64) -> NeuronsOptions {
        NeuronsOptions { sampler, seed, heads: None }
    }

    fn only(heads: &[Head]) -> NeuronsOptions {
        let heads = Some(heads.iter().copied().collect());
        NeuronsOptions { sampler: ONE_STEP, seed: 0, heads }
    }

    fn decode(neurons: &mut Neurons, bold: [f32; 4]) -> Readouts {
        neurons.decode(&window(&bold), &mut ()).unwrap()
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{found:?} {expected:?}");
        }
    }

    fn refusal(from: &str, to: &str) -> String {
        let folder = edited_of("neurons-tiny", from, to);
        open(folder.path(), &NeuronsOptions::default()).unwrap_err().to_string()
    }

    /// Worked out from what `tests/data/models/neurons.py` says each network does.
    #[test]
    fn everything_that_is_read_out_is_what_the_networks_do() {
        let mut neurons = open(&model("neurons-tiny"), &with(ONE_STEP, 5)).unwrap();
        let bold = [8.0, 20.0, -4.0, 2.0];
        let readouts = decode(&mut neurons, bold);
        assert!(readouts.failures.is_empty(), "{:?}", readouts.failures);
        let conditions = readouts.conditions.unwrap();

        let brain: Vec<f32> = (1..=3).flat_map(|n| bold.map(|x| x * n as f32)).collect();
        assert_eq!(conditions.brain_tokens, brain);
        let mut noise = vec![0.0; 12];
        Noise::new(5, TrIndex(0)).fill(&mut noise);
        // The guess of one step, at the last timestep, which is 9.
        let guess = |(brain, noise): (&f32, &f32)| 0.5 * brain + 0.25 * noise + 0.009;
        let tokens: Vec<f32> = brain.iter().zip(&noise).map(guess).collect();
        close(&conditions.tokens, &tokens);

        let mean: Vec<f32> =
            (0..4).map(|c| (tokens[c] + tokens[4 + c] + tokens[8 + c]) / 3.0).collect();
        let sum: f32 = mean.iter().sum();
        close(&conditions.text_embed, &[mean.clone(), vec![sum]].concat());
        // Frames are the tokens once and twice, so their mean is 1.5 times the tokens'.
        let logistic = |&x: &f32| 1.0 / (1.0 + (-1.5 * x).exp());
        let expected: Vec<f32> = mean[..3].iter().map(logistic).collect();
        let concepts = readouts.concepts.unwrap();
        close(&concepts.probabilities, &expected);
        assert_eq!(*concepts.names, ["bottle", "cat", "chair"]);
        assert!(!concepts.is_exclusive);
        // The best class is `cat`, whose text makes every logit larger by 100.
        assert_eq!(concepts.best(), Some(1));
        assert_eq!(conditions.mask.unwrap(), [1; 8]);
        let text = 2.0 * sum / 5.0;
        let latents: Vec<f32> = [1.0, 2.0]
            .iter()
            .flat_map(|frame| mean.iter().flat_map(move |x| [frame * x + text; 4]))
            .collect();
        close(&conditions.latents.unwrap(), &latents);
        // The first number of the text is smaller than the second.
        assert_eq!(readouts.caption.unwrap(), "dog and dog");
        assert_eq!(conditions.caption_ids.unwrap(), [515, 517, 515, 519]);
    }

    #[test]
    fn masks_are_those_of_the_most_probable_class() {
        let mut neurons = open(&model("neurons-tiny"), &with(ONE_STEP, 0)).unwrap();
        let chair = decode(&mut neurons, [-9.0, -9.0, 30.0, 30.0]);
        assert_eq!(chair.conditions.unwrap().mask.unwrap(), [0; 8]);
        // `bottle` adds nothing: pixels are where the mean token is above 0.
        let bottle = decode(&mut neurons, [30.0, -9.0, -9.0, 9.0]);
        assert_eq!(bottle.conditions.unwrap().mask.unwrap(), [1, 0, 0, 1, 1, 0, 0, 1]);
        assert_eq!(bottle.caption.unwrap(), "cat and dog");
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
        for sampler in [Sampler::Ddpm, ONE_STEP, Sampler::Ddim { steps: 4 }] {
            let mut n_before = 0..;
            let mut tokens = |seed| {
                let mut neurons = open(&model("neurons-tiny"), &with(sampler, seed)).unwrap();
                // Whatever was decoded before makes no difference.
                (0..n_before.next().unwrap()).for_each(|_| drop(decode(&mut neurons, [9.0; 4])));
                let tokens = decode(&mut neurons, [1.0, 2.0, 3.0, 4.0]).conditions.unwrap().tokens;
                tokens.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
            };
            assert_eq!(tokens(2), tokens(2), "{sampler:?}");
            assert_ne!(tokens(2), tokens(3), "{sampler:?}");
        }
    }

    #[test]
    fn heads_that_are_switched_off_give_nothing_and_are_not_loaded() {
        let mut neurons = open(&model("neurons-tiny"), &only(&[Head::Reconstruction])).unwrap();
        assert_eq!(neurons.sessions().len(), 4);
        let readouts = decode(&mut neurons, [1.0; 4]);
        let conditions = readouts.conditions.unwrap();
        assert!(readouts.concepts.is_none() && readouts.caption.is_none());
        assert!(conditions.mask.is_none() && conditions.caption_ids.is_none());
        assert!(conditions.latents.is_some() && readouts.failures.is_empty());
        let error = open(&model("neurons-tiny"), &only(&[Head::Objects])).unwrap_err();
        assert!(error.to_string().contains("takes what `concepts` finds"), "{error}");
    }

    #[test]
    fn a_head_that_gives_nan_costs_its_own_readout() {
        let mut neurons = open(&model("neurons-nan"), &with(ONE_STEP, 0)).unwrap();
        let readouts = decode(&mut neurons, [1.0; 4]);
        let [failure] = readouts.failures.as_slice() else { panic!("{:?}", readouts.failures) };
        assert_eq!(failure.head, Head::Objects);
        assert!(failure.error.to_string().contains("`mask_logits` holds NaN"), "{}", failure.error);
        let conditions = readouts.conditions.unwrap();
        assert!(conditions.mask.is_none());
        assert!(conditions.latents.is_some() && conditions.caption_ids.is_some());
        assert!(readouts.concepts.is_some() && readouts.caption.is_some());
    }

    #[test]
    fn nan_in_the_window_costs_the_window() {
        let mut neurons = open(&model("neurons-tiny"), &with(ONE_STEP, 0)).unwrap();
        let error = neurons.decode(&window(&[f32::NAN, 0.0, 0.0, 0.0]), &mut ()).unwrap_err();
        assert!(
            error.costs_one_window() && error.to_string().contains("`brain_tokens`"),
            "{error}"
        );
        let error = neurons.decode(&window(&[0.0; 5]), &mut ()).unwrap_err();
        assert!(matches!(error, ModelError::Window { found: [1, 5], expected: [1, 4] }));
        assert!(neurons.decode(&window(&[0.0; 4]), &mut ()).is_ok());
    }

    #[test]
    fn a_sampling_can_be_ended_between_two_steps() {
        struct Impatient(Vec<&'static str>);
        impl Watch for Impatient {
            fn done(&mut self, part: &'static str) {
                self.0.push(part);
            }

            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let mut neurons =
            open(&model("neurons-tiny"), &with(Sampler::Ddim { steps: 2 }, 0)).unwrap();
        let mut watch = Impatient(Vec::new());
        let error = neurons.decode(&window(&[0.0; 4]), &mut watch).unwrap_err();
        assert!(matches!(error, ModelError::Cancelled));
        assert_eq!(watch.0, ["brain"]);
    }

    #[test]
    fn every_part_says_when_it_is_done() {
        struct Parts(Vec<&'static str>);
        impl Watch for Parts {
            fn done(&mut self, part: &'static str) {
                self.0.push(part);
            }
        }
        let mut neurons = open(&model("neurons-tiny"), &with(ONE_STEP, 0)).unwrap();
        let mut watch = Parts(Vec::new());
        neurons.decode(&window(&[0.0; 4]), &mut watch).unwrap();
        assert_eq!(watch.0, crate::decoder::PARTS[1..]);
    }

    #[test]
    fn a_model_that_lacks_what_it_needs_is_refused() {
        for (from, to, expected) in [
            ("role = \"prior\"", "role = \"decoder\"", "a `neurons` model has `prior`"),
            ("role = \"caption_embed\"", "role = \"decoder\"", "no such network"),
            ("class_states = ", "#", "`neurons.class_states` is missing"),
            ("vocabulary = ", "#", "`neurons.vocabulary` is missing"),
            ("stop_id = 519", "stop_id = 520", "pairs, `stop_id` 520 expects 7"),
            ("stop_id = 519", "stop_id = 530", "logits of more than 530 tokens"),
            ("caption_heads = 1", "caption_heads = 3", "expected a multiple of 3 heads"),
            ("n_frame = 2", "n_frame = 33", "`neurons.n_frame`: is 33, expected 1 to 32"),
            ("n_frame = 2", "n_frame = 3", "`frame_tokens` f32 [-1, 3, 3, 4] and `text_embed`"),
            ("text_dim = 5", "text_dim = 6", "`text_embed` f32 [-1, 6] with role `motion`"),
            (
                "name = \"bold\", shape = [-1",
                "name = \"bold\", shape = [1",
                "has `bold` f32 [-1, 1, 4]",
            ),
            ("prior_steps = 10", "prior_steps = 0", "`neurons.prior_steps`: is 0"),
            ("\"cosine\"", "\"linear\"", "unknown variant `linear`"),
            (", \"chair\"]", "]", "`probabilities` f32 [-1, 2] with role `concepts`"),
        ] {
            let message = refusal(from, to);
            assert!(message.contains(expected), "{message}");
        }
        let error =
            open(&model("neurons-tiny"), &with(Sampler::Ddim { steps: 11 }, 0)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("`prior_steps` is 11, expected 1 to the 10"), "{message}");
    }

    #[test]
    fn a_head_that_the_model_does_not_have_is_named() {
        let folder = edited_of("neurons-tiny", "role = \"reconstruction\"", "role = \"x\"");
        let path = folder.path().join("manifest.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let at = text.find("role = \"x\"").unwrap() - "[[network]]\n".len();
        let end = at + 1 + text[at + 1..].find("[[network]]").unwrap();
        std::fs::write(&path, [&text[..at], &text[end..]].concat()).unwrap();
        let error = open(folder.path(), &only(&[Head::Reconstruction])).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(
                "`reconstruction` is asked for, the model has concepts, objects, caption"
            ),
            "{message}"
        );
        assert!(open(folder.path(), &NeuronsOptions::default()).is_ok());
    }
}
