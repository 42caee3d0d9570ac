//! A `neurons` model on the networks of `tests/data/models`, which do arithmetic.

use std::path::Path;

use super::*;
use crate::{
    fixtures::{edited_of, model, window},
    network::{
        Input,
        in_memory::{InMemoryRuntime, Tensor},
    },
    prior::noise::Noise,
    runtime::OnnxRuntime,
};
use corticast_bold::time::TrIndex;

const ONE_STEP: Sampler = Sampler::Ddim { steps: 1 };

fn open(dir: &Path, options: &NeuronsOptions) -> Result<Neurons, ModelError> {
    Neurons::open(&Manifest::read(dir)?, options, &OnnxRuntime::on_cpu())
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
fn every_readout_is_what_the_networks_compute() {
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

/// The first three stages and two heads of `neurons-tiny` as functions.
fn arithmetic() -> InMemoryRuntime {
    let f32s = |input: &Input<'_>| match *input {
        Input::F32(_, values) => values.to_vec(),
        ref other => panic!("{other:?}"),
    };
    let brain = move |inputs: &[Input<'_>]| {
        let bold = f32s(&inputs[0]);
        let tokens = (1..=3).flat_map(|n| bold.iter().map(move |x| x * n as f32)).collect();
        vec![Tensor::new(&[1, 3, 4], tokens)]
    };
    let prior = move |inputs: &[Input<'_>]| {
        let Input::I64(_, &[t]) = inputs[1] else { panic!("{:?}", inputs[1]) };
        let (image, brain) = (f32s(&inputs[0]), f32s(&inputs[2]));
        let guess = |(image, brain): (&f32, &f32)| 0.5 * brain + 0.25 * image + 0.001 * t as f32;
        vec![Tensor::new(&[1, 3, 4], image.iter().zip(&brain).map(guess).collect())]
    };
    let motion = move |inputs: &[Input<'_>]| {
        let tokens = f32s(&inputs[0]);
        let frames = [1.0, 2.0].iter().flat_map(|f| tokens.iter().map(move |x| x * f)).collect();
        vec![Tensor::new(&[1, 2, 3, 4], frames), Tensor::new(&[1, 5], vec![1.0; 5])]
    };
    // Which class is the most probable shows in the mask.
    let concepts = |_: &[Input<'_>]| vec![Tensor::new(&[1, 3], vec![0.1, 0.9, 0.5])];
    let objects = move |inputs: &[Input<'_>]| {
        let mean = f32s(&inputs[1]).iter().sum::<f32>();
        vec![Tensor::new(&[1, 2, 1, 2, 2], vec![mean; 8])]
    };
    InMemoryRuntime::default()
        .with(Role::Brain, brain)
        .with(Role::Prior, prior)
        .with(Role::Motion, motion)
        .with(Role::Concepts, concepts)
        .with(Role::Objects, objects)
}

#[test]
fn the_family_runs_without_onnx_runtime() {
    let manifest = Manifest::read(&model("neurons-tiny")).unwrap();
    let heads = only(&[Head::Concepts, Head::Objects]);
    let mut neurons = Neurons::open(&manifest, &heads, &arithmetic()).unwrap();
    let bold = [8.0, 20.0, -4.0, 2.0];
    let readouts = decode(&mut neurons, bold);
    assert!(readouts.failures.is_empty(), "{:?}", readouts.failures);
    let conditions = readouts.conditions.unwrap();
    let mut noise = vec![0.0; 12];
    Noise::new(0, TrIndex(0)).fill(&mut noise);
    let brain = (1..=3).flat_map(|n| bold.map(|x| x * n as f32));
    let guess = |(brain, noise): (f32, &f32)| 0.5 * brain + 0.25 * noise + 0.009;
    close(&conditions.tokens, &brain.zip(&noise).map(guess).collect::<Vec<_>>());
    assert_eq!(readouts.concepts.unwrap().best(), Some(1));
    // The text states of `cat` are positive.
    assert_eq!(conditions.mask.unwrap(), [1; 8]);
    assert!(conditions.latents.is_none() && readouts.caption.is_none());
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
            // Earlier windows make no difference.
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
    assert_eq!(neurons.networks().len(), 4);
    let readouts = decode(&mut neurons, [1.0; 4]);
    let conditions = readouts.conditions.unwrap();
    assert!(readouts.concepts.is_none() && readouts.caption.is_none());
    assert!(conditions.mask.is_none() && conditions.caption_ids.is_none());
    assert!(conditions.latents.is_some() && readouts.failures.is_empty());
    let error = open(&model("neurons-tiny"), &only(&[Head::Objects])).unwrap_err();
    assert!(error.to_string().contains("needs the head `concepts`"), "{error}");
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
    assert!(error.costs_one_window() && error.to_string().contains("`brain_tokens`"), "{error}");
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
    let mut neurons = open(&model("neurons-tiny"), &with(Sampler::Ddim { steps: 2 }, 0)).unwrap();
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
fn an_incomplete_model_is_refused() {
    for (from, to, expected) in [
        ("role = \"prior\"", "role = \"decoder\"", "family `neurons` needs `prior`"),
        ("role = \"caption_embed\"", "role = \"decoder\"", "no such network"),
        ("class_states = ", "#", "`neurons.class_states` is missing"),
        ("vocabulary = ", "#", "`neurons.vocabulary` is missing"),
        ("stop_id = 519", "stop_id = 520", "pairs, `stop_id` 520 needs 7"),
        ("stop_id = 519", "stop_id = 530", "logits of more than 530 tokens"),
        ("caption_heads = 1", "caption_heads = 3", "expected a multiple of 3 heads"),
        ("n_frame = 2", "n_frame = 33", "`neurons.n_frame`: is 33, expected 1 to 32"),
        ("n_frame = 2", "n_frame = 3", "`frame_tokens` f32 [-1, 3, 3, 4] and `text_embed`"),
        ("text_dim = 5", "text_dim = 6", "`text_embed` f32 [-1, 6] with role `motion`"),
        (
            "name = \"bold\", shape = [-1",
            "name = \"bold\", shape = [1",
            "needs `bold` f32 [-1, 1, 4]",
        ),
        ("prior_steps = 10", "prior_steps = 0", "`neurons.prior_steps`: is 0"),
        ("\"cosine\"", "\"linear\"", "unknown variant `linear`"),
        (", \"chair\"]", "]", "`probabilities` f32 [-1, 2] with role `concepts`"),
    ] {
        let message = refusal(from, to);
        assert!(message.contains(expected), "{message}");
    }
    let error = open(&model("neurons-tiny"), &with(Sampler::Ddim { steps: 11 }, 0)).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`prior_steps` must be 1 to 10"), "{message}");
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
        message.contains("the head `reconstruction`, the model has concepts, objects, caption"),
        "{message}"
    );
    assert!(open(folder.path(), &NeuronsOptions::default()).is_ok());
}
