//! Compares clips with the reference implementation: every case of the video pipeline in the
//! reference's manifest, with its own parameters and tolerance, with split and fused graphs.
//!
//! `CORTICAST_REFERENCE` can name another folder than `tests/data/reference`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::fs;

use common::{
    Case, apart, f32s, file, i64s, largest, listed, number,
    pipeline::{Given, Pipeline, SETS, recipe},
    real, run, u8s,
};
use corticast_models::generator::{
    animatediff::AnimateDiff,
    clip::Conditioning,
    frames::{Shown, between, to_bytes},
    scheduler::{Init, Sampler, Step},
};
use safetensors::SafeTensors;
use serde_json::Value;

#[test]
fn clips_are_prepared_and_begun_as_the_reference_does() {
    let pipeline = Pipeline::read();
    let given = Given::of(&pipeline);
    let (prepared, first_step) = (pipeline.prepared(), pipeline.first_step());
    let tolerance = &pipeline.facts["tolerance"];
    let cases = pipeline.facts["cases"].as_object().unwrap();
    // `first_step` belongs to the case whose `init` is `reference`.
    let case = cases.values().find(|case| case["parameters"]["init"] == "reference").unwrap();
    let bytes = fs::read(file(case, "file")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (start, timestep) = (f32s(&tensors, "start_latents"), i64s(&tensors, "timesteps")[0]);
    let scale = real(&pipeline.facts, "control_scale") as f32;
    let mut all = true;
    for (set, set_name) in SETS {
        let mut stage = pipeline.open(set);
        let mut case = Case::new(format!("pipeline prepared {set_name}"));
        let recipe = recipe(Vec::new(), Some(1.0), scale);
        let draw = |draw, block: &mut [f32]| pipeline.draw(draw, block);
        let conditioning = stage.condition(&given.conditions(), &recipe, draw).unwrap();
        let expected = f32s(&prepared, "text_context");
        let text = real(tolerance, "text_context");
        case.add("text_context", apart(&conditioning.text, &expected), text);
        let vae = real(tolerance, "vae");
        case.add("cond", apart(&conditioning.cond, &f32s(&prepared, "cond")), vae);
        let latents = stage.start(&given.blurry(), &[], draw).unwrap();
        case.add("init_latents", apart(&latents, &f32s(&prepared, "init_latents")), vae);
        let frame = given.keyframe.len();
        let clip = between(&given.blurry, frame);
        case.add("motion16", apart(&clip, &f32s(&prepared, "motion16")), 1e-6);
        all &= case.close();

        let first = real(tolerance, "first_step");
        let mut case = Case::new(format!("pipeline first_step {set_name}"));
        // With guidance 0 only the negative prompt counts, without guidance only the prompt.
        for (guidance, name) in [(Some(0.0), "noise_pred_uncond"), (None, "noise_pred_cond")] {
            let conditioning = Conditioning { guidance, ..conditioning.clone() };
            let found = stage.predict(&start, timestep as usize, &conditioning).unwrap();
            case.add(name, apart(found, &f32s(&first_step, name)), first);
        }
        let conditioning = Conditioning { guidance: Some(0.0), ..conditioning };
        if let Some(residuals) = stage.residuals(timestep as usize, &conditioning).unwrap() {
            let names: Vec<_> = pipeline.residuals().into_iter().map(|facts| facts.name).collect();
            assert_eq!(residuals.len(), names.len());
            for (kept, name) in residuals.iter().zip(names) {
                let error = apart(kept.f32().unwrap(), &f32s(&first_step, &name));
                case.add(name, error, first);
            }
        }
        all &= case.close();
    }
    assert!(all, "beyond the tolerance: see the lines that say FAIL");
}

#[test]
fn clips_are_those_of_the_reference() {
    let pipeline = Pipeline::read();
    let given = Given::of(&pipeline);
    let tolerance = &pipeline.facts["tolerance"];
    let cases = pipeline.facts["cases"].as_object().unwrap();
    assert!(!cases.is_empty());
    let mut failed = Vec::new();
    for (set, set_name) in SETS {
        let mut stage = pipeline.open(set);
        for (name, case) in cases {
            let name = format!("pipeline {name} {set_name}");
            let passed = run(&name, |compared| {
                run_case(&pipeline, &given, &mut stage, case, tolerance, compared);
            });
            if !passed {
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "beyond the tolerance: {failed:?}");
}

fn run_case(
    pipeline: &Pipeline,
    given: &Given,
    stage: &mut AnimateDiff,
    case: &Value,
    tolerance: &Value,
    compared: &mut Case,
) {
    let parameters = &case["parameters"];
    assert_eq!(parameters["scheduler"], "ddim", "the only sampler there are cases of");
    let bytes = fs::read(file(case, "file")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let names = tensors.names();
    let listed_tensor = |name: &str| names.contains(&name).then(|| f32s(&tensors, name));

    let schedule = pipeline.schedule();
    let steps = number(parameters, "grid_steps");
    let own = i64s(&tensors, "timesteps");
    compared.require("timesteps", own == listed(&case["timesteps"]));
    let stride = number(&pipeline.facts["scheduler"], "num_train_timesteps") / steps;
    let plan: Vec<Step> = own.iter().map(|&t| schedule.ddim(t as usize, stride, 0.0)).collect();
    let mut x = f32s(&tensors, "start_latents");
    let draw = |draw, block: &mut [f32]| pipeline.draw(draw, block);
    let init = match parameters["init"].as_str().unwrap() {
        "reference" => Some(Init::Reference),
        "sdedit" => Some(Init::Sdedit { strength: real(parameters, "strength") }),
        "given" => None,
        other => panic!("init is {other:?}"),
    };
    if let Some(init) = init {
        let planned = schedule.plan(Sampler::Ddim { steps, eta: 0.0 }, init).unwrap();
        compared.require("plan", planned == plan);
        let start = stage.start(&given.blurry(), &planned, draw).unwrap();
        compared.add("start_latents", apart(&start, &x), real(tolerance, "vae"));
    }

    let guidance = real(parameters, "guidance") as f32;
    let is_guided = (guidance - 1.0).abs() > 0.0;
    let recipe =
        recipe(plan, is_guided.then_some(guidance), real(parameters, "control_scale") as f32);
    let conditioning = stage.condition(&given.conditions(), &recipe, draw).unwrap();
    let expected = f32s(&tensors, "latents");
    let n = x.len();
    let relative = real(tolerance, "latents_rel_to_absmax");
    let eps = listed_tensor("eps");
    let mut before = x.clone();
    let see = |done: usize, latents: &[f32]| {
        if let Some(step) = done.checked_sub(1) {
            let expected = &expected[step * n..done * n];
            let error = apart(latents, expected) / largest(expected);
            compared.add(format!("latents after step {step}"), error, relative);
        }
        true
    };
    stage.denoise(&mut x, &recipe.plan, &conditioning, draw, see).unwrap();
    // The prediction of each step, from the reference's own latents.
    for (k, eps) in eps.iter().flat_map(|eps| eps.chunks_exact(n)).enumerate() {
        let found = stage.predict(&before, recipe.plan[k].timestep, &conditioning).unwrap();
        compared.add(format!("eps of step {k}"), apart(found, eps) / largest(eps), relative);
        before.copy_from_slice(&expected[k * n..(k + 1) * n]);
    }

    let pixels = stage.decode(&x, Shown::All).unwrap();
    let frames = real(tolerance, "frames");
    if let Some(expected) = listed_tensor("final_frames") {
        compared.add("final_frames", apart(&pixels, &expected), frames);
    }
    if let Some(expected) = listed_tensor("frames_6") {
        let shown = stage.decode(&x, Shown::Evaluated).unwrap();
        compared.add("frames_6", apart(&shown, &expected), frames);
    }
    if names.contains(&"frames_u8") {
        let (found, expected) = (to_bytes(&pixels), u8s(&tensors, "frames_u8"));
        assert_eq!(found.len(), expected.len());
        let apart: Vec<u8> = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).collect();
        let most = apart.iter().max().copied().unwrap_or(0);
        let share = apart.iter().filter(|&&apart| apart > 0).count() as f64 / apart.len() as f64;
        let of = &tolerance["u8"];
        compared.require("bytes next to each other", f64::from(most) <= real(of, "max_abs_diff"));
        compared.add("share of other bytes", share, real(of, "max_fraction_differing"));
    }
}
