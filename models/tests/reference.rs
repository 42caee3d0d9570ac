//! Compares prior, captioner and vocabulary with the reference implementation: every case in the
//! reference's manifest, with its own parameters and tolerance.
//!
//! `CORTICAST_REFERENCE` can name another folder than `tests/data/reference`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::fs;

use common::{compare, f32s, f64s, file, folder, i64s, ids, manifest, network, number, on_cpu};
use corticast_models::{
    decoupler::caption::CaptionHead,
    manifest::{CaptionFacts, Dim, NeuronsFacts, PriorSchedule, Role, TensorFacts},
    prior::{
        Prior,
        schedule::{Cosine, Sampler},
    },
    vocabulary::Vocabulary,
};
use safetensors::SafeTensors;
use serde_json::Value;

use Dim::{Fixed, Open};

#[test]
fn the_prior_samples_as_the_reference_does() {
    let reference = &manifest()["prior"];
    let (n_token, channels) = (number(reference, "tokens"), number(reference, "dim"));
    let bytes = fs::read(file(reference, "file")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tokens = |name| TensorFacts::f32(name, &[Open, Fixed(n_token), Fixed(channels)]);
    let network = network(
        Role::Prior,
        file(reference, "onnx"),
        vec![tokens("image_embed"), ids("timestep", &[Open]), tokens("brain_embed")],
        vec![tokens("pred_x0")],
    );
    let facts = NeuronsFacts {
        n_frame: 1,
        n_token,
        channels,
        text_dim: 1,
        latent: 1,
        mask: 1,
        prior_steps: number(reference, "steps"),
        prior_schedule: PriorSchedule::Cosine,
        class_states: None,
        caption: None,
    };
    let mut prior = Prior::open(&network, &facts, Sampler::Ddpm, &on_cpu()).unwrap();

    let (brain, noises) = (f32s(&tensors, "brain_embed"), f32s(&tensors, "noise"));
    let noises: Vec<&[f32]> = noises.chunks(n_token * channels).collect();
    let names = tensors.names();
    let listed = |name: &str| names.contains(&name).then(|| f32s(&tensors, name));
    let tolerance = &reference["tolerance"];
    let x_t = f32s(&tensors, "x_T");
    let mut sampling = prior.start(|block| block.copy_from_slice(&x_t));
    let plan = prior.plan().to_vec();
    let mut n_compared = 0;
    for (step, noise) in plan.iter().zip(noises) {
        let t = step.timestep;
        let after = listed(&format!("x_after_t{t}"));
        // The prediction alone, from the reference's own tokens: those after the step before, or
        // those that this step undone gives.
        if let Some(expected) = listed(&format!("pred_x0_t{t}")) {
            let undone = after
                .iter()
                .flatten()
                .zip(&expected)
                .zip(noise)
                .map(|((x, x0), z)| (x - step.of_x0 * x0 - step.noise_sd * z) / step.of_x);
            let before = if t + 1 == plan.len() { Some(x_t.clone()) } else { None };
            let before = before.or_else(|| listed(&format!("x_after_t{}", t + 1)));
            let before = before.unwrap_or_else(|| undone.collect());
            let guess = prior.guess(&before, t, &brain).unwrap();
            compare(&format!("prior pred_x0_t{t}"), guess, &expected, &tolerance["pred_x0"]);
            n_compared += 1;
        }
        prior.step(&mut sampling, &brain, |block| block.copy_from_slice(noise)).unwrap();
        if let Some(expected) = after {
            let case = format!("prior x_after_t{t}");
            compare(&case, sampling.tokens(), &expected, &tolerance["result"]);
            n_compared += 1;
        }
    }
    let n_listed = names.iter().filter(|name| name.contains("_t")).count();
    assert_eq!(n_compared, n_listed, "a listed tensor was not compared: {names:?}");
    compare("prior result", sampling.tokens(), &f32s(&tensors, "result"), &tolerance["result"]);
}

#[test]
fn the_schedule_is_that_of_the_reference() {
    let reference = &manifest()["prior"];
    let bytes = fs::read(file(reference, "file")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let column = |name: &str| f64s(&tensors, &format!("sched_{name}"));
    let (of_x0, of_x, log_var) = (column("coef_x0"), column("coef_xt"), column("log_var"));
    let close = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-6;
    for step in Cosine::new(number(reference, "steps")).plan(Sampler::Ddpm) {
        let t = step.timestep;
        let noise_sd = if t == 0 { 0.0 } else { (0.5 * log_var[t]).exp() };
        assert!(close(step.of_x0, of_x0[t]) && close(step.of_x, of_x[t]), "{step:?}");
        assert!(close(step.noise_sd, noise_sd), "{step:?}");
    }
}

#[test]
fn captions_are_those_of_the_reference() {
    let manifest = manifest();
    let (reference, vocabulary) = (&manifest["gpt2"], file(&manifest["clip_bpe"], "vocab"));
    let facts = CaptionFacts {
        max_tokens: number(reference, "max_tokens"),
        stop_id: number(reference, "stop_id"),
        vocabulary,
        layers: number(reference, "layers"),
        heads: number(reference, "heads"),
        embd: number(reference, "embd"),
    };
    let cases = reference["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let name = case["file"].as_str().unwrap();
        let bytes = fs::read(file(case, "file")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let direction = f32s(&tensors, "clip_text_embed");
        let embd = Fixed(facts.embd);
        let width = Fixed(facts.embd / facts.heads);
        let past = [Fixed(facts.layers), Fixed(2), Open, Fixed(facts.heads), Open, width];
        let in_folder = |name: &str| folder().join("gpt2").join(name);
        let f32 = TensorFacts::f32;
        let networks = [
            network(
                Role::CaptionPrefix,
                in_folder("prefix_proj.onnx"),
                vec![f32("clip_text_embed", &[Open, Fixed(direction.len())])],
                vec![f32("prefix", &[Open, Fixed(1), embd])],
            ),
            network(
                Role::CaptionEmbed,
                in_folder("token_embed.onnx"),
                vec![ids("ids", &[Open, Open])],
                vec![f32("embeds", &[Open, Open, embd])],
            ),
            network(
                Role::CaptionDecoder,
                in_folder("decoder_kv.onnx"),
                vec![f32("inputs_embeds", &[Open, Open, embd]), f32("past", &past)],
                vec![
                    f32("logits", &[Open, Fixed(number(reference, "vocab"))]),
                    f32("present", &past),
                ],
            ),
        ];
        let mut head = CaptionHead::open(networks.each_ref(), &facts, &on_cpu()).unwrap();
        let mut first: Option<Vec<f32>> = None;
        let ids = head.greedy(&direction, |logits| {
            first.get_or_insert_with(|| logits.to_vec());
        });
        let ids = ids.unwrap();
        let expected = i64s(&tensors, "token_ids");
        let verdict = if ids == expected { "pass" } else { "FAIL" };
        println!("{:<40} {} ids  exact  {verdict}", format!("gpt2 {name}"), ids.len());
        assert_eq!(ids, expected, "{name}");

        let mut first = first.unwrap();
        first.sort_by(|a, b| b.total_cmp(a));
        let expected = f32s(&tensors, "first_logits_top");
        first.truncate(expected.len());
        compare(
            &format!("gpt2 {name} first logits"),
            &first,
            &expected,
            &reference["tolerance"]["logits"],
        );
        if let Some(decoded) = case["decoded"].as_str() {
            let vocabulary = Vocabulary::read(&facts.vocabulary, facts.stop_id).unwrap();
            let decoded = decoded.trim_end_matches("<end_of_text>").trim_end();
            assert_eq!(vocabulary.decode(&ids), decoded, "{name}");
        }
    }
}

#[test]
fn tokens_become_the_same_text_as_in_the_reference() {
    let manifest = manifest();
    let reference = &manifest["clip_bpe"];
    let vocabulary = Vocabulary::read(&file(reference, "vocab"), number(reference, "eot")).unwrap();
    let text = fs::read_to_string(file(reference, "file")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), number(reference, "count"));
    for case in &cases {
        let ids: Vec<i64> =
            case["ids"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
        let expected = case["decoded"].as_str().unwrap().trim_end();
        let found = vocabulary.decode(&ids);
        let verdict = if found == expected { "pass" } else { "FAIL" };
        println!("{:<40} exact  {verdict}", format!("bpe {:?}", case["text"].as_str().unwrap()));
        assert_eq!(found, expected);
        // Special tokens and padding do not change the text.
        let padded = case["openclip_77_pad0"].as_array().unwrap().iter().filter_map(Value::as_i64);
        let stop = number(reference, "eot") as i64;
        let caption: Vec<i64> = padded.take_while(|&id| id != stop).collect();
        if caption.len() == ids.len() + 1 {
            assert_eq!(vocabulary.decode(&caption), expected);
        }
    }
}
