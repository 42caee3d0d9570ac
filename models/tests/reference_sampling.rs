//! Compares the samplers with the reference implementation: every case in the reference's
//! manifest, with its own parameters and tolerance.
//!
//! `CORTICAST_REFERENCE` can name another folder than `tests/data/reference`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::fs;

use common::{
    apart, f32s, f64s, file, folder, i64s, largest, listed, manifest, number, real, run, timesteps,
    training,
};
use corticast_models::generator::{
    schedule::Schedule,
    scheduler::{Init, Sampler},
};
use safetensors::SafeTensors;

#[test]
fn samplers_step_as_the_reference_does() {
    let manifest = manifest();
    let reference = &manifest["ddim"];
    let tolerance = &reference["tolerance"];
    let absolute = real(tolerance, "atol_rel_to_absmax");
    let relative = real(tolerance, "rtol") / absolute;
    // |a - b| ≤ atol max|b| + rtol |b|, solved for `absolute`.
    let off = |found: &[f32], expected: &[f32]| {
        let most = largest(expected);
        let share = |(a, b): (&f32, &f32)| {
            f64::from((a - b).abs()) / (most + relative * f64::from(b.abs())).max(f64::MIN_POSITIVE)
        };
        if apart(found, expected).is_finite() {
            found.iter().zip(expected).map(share).fold(0.0, f64::max)
        } else {
            f64::INFINITY
        }
    };
    let cases = reference["cases"].as_object().unwrap();
    assert!(!cases.is_empty());
    let mut failed = Vec::new();
    for (name, case) in cases {
        let passed = run(&format!("ddim {name}"), |compared| {
            let bytes = fs::read(file(case, "file")).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let expected_timesteps = i64s(&tensors, "timesteps");
            let steps = expected_timesteps.len();
            let mut training = training(&reference["scheduler_config"]);
            let sampler = if case.get("original_inference_steps").is_some() {
                training.lcm_grid = number(case, "original_inference_steps");
                training.lcm_timestep_scaling = real(case, "timestep_scaling");
                training.lcm_sigma_data = real(case, "sigma_data");
                Sampler::Lcm { steps }
            } else {
                Sampler::Ddim { steps, eta: real(case, "eta") }
            };
            let schedule = Schedule::new(training);
            let plan = schedule.plan(sampler, Init::Reference).unwrap();
            compared.require("timesteps", timesteps(&plan) == expected_timesteps);
            compared.require("timesteps", timesteps(&plan) == listed(&case["timesteps"]));
            if let Some(slices) = case.get("strength_slicing_sdedit") {
                for (strength, slice) in slices.as_object().unwrap() {
                    let init = Init::Sdedit { strength: strength.parse().unwrap() };
                    let kept = schedule.plan(sampler, init).unwrap();
                    let same = timesteps(&kept) == listed(&slice["timesteps"]);
                    compared.require(format!("strength {strength}"), same);
                    compared.require("t_start", steps - kept.len() == number(slice, "t_start"));
                }
            }

            let names = tensors.names();
            let has = |name: &str| names.contains(&name);
            let mut x = if has("start") {
                f32s(&tensors, "start")
            } else {
                let mut x = f32s(&tensors, "clean");
                schedule.add_noise(&mut x, &f32s(&tensors, "noise"), plan[0].timestep);
                let expected = f32s(&tensors, "noised_at_first_timestep");
                compared.add("noise added", off(&x, &expected), absolute);
                x
            };
            let n = x.len();
            let all = |name: &str| has(name).then(|| f32s(&tensors, name));
            let (predicted, after) = (all("model_outputs").unwrap(), all("prev_samples").unwrap());
            let drawn = match sampler {
                Sampler::Lcm { .. } => all("noise"),
                Sampler::Ddim { .. } => all("variance_noise"),
            };
            let clean_at = all("pred_original").or_else(|| all("denoised"));
            for (k, step) in plan.iter().enumerate() {
                let at = k * n..(k + 1) * n;
                let predicted = &predicted[at.clone()];
                if let Some(expected) = &clean_at {
                    let mut clean = vec![0.0; n];
                    step.clean(&x, predicted, &mut clean);
                    let error = off(&clean, &expected[at.clone()]);
                    compared.add(format!("clean at step {k}"), error, absolute);
                }
                let drawn = drawn.as_ref().map_or(&[][..], |drawn| &drawn[at.clone()]);
                assert!(step.noise_sd <= 0.0 || drawn.len() == n, "{name}: noise is missing");
                step.take(&mut x, predicted, drawn);
                compared.add(format!("after step {k}"), off(&x, &after[at]), absolute);
            }
        });
        if !passed {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "beyond the tolerance: {failed:?}");
}

#[test]
fn alphas_are_those_of_the_reference() {
    let manifest = manifest();
    let path = folder().join("ddim/alphas.safetensors");
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let schedule = Schedule::new(training(&manifest["ddim"]["scheduler_config"]));
    let expected = f64s(&tensors, "alphas_cumprod_f64");
    assert_eq!(schedule.alphas_cumprod().len(), expected.len());
    for (found, expected) in schedule.alphas_cumprod().iter().zip(expected) {
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
    }
}
