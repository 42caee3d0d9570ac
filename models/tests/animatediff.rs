//! The generator on the reference's tiny networks: caching, cancelling, wrong inputs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::cell::Cell;

use common::pipeline::{Given, Pipeline, Set, recipe};
use corticast_bold::time::TrIndex;
use corticast_models::{
    error::ModelError,
    generator::{
        animatediff::AnimateDiff,
        clip::{ClipConditions, ClipSizes, Pictures, Recipe},
        draw::Draws,
        frames::Shown,
        scheduler::{Init, Sampler},
    },
};

#[test]
fn results_that_stay_the_same_are_computed_once() {
    let pipeline = Pipeline::read();
    let mut given = Given::of(&pipeline);
    let mut stage = pipeline.open(Set::Split);
    let plan = pipeline.schedule().plan(Sampler::Lcm { steps: 3 }, Init::Reference).unwrap();
    let recipe = Recipe { shown: Shown::Evaluated, ..recipe(plan, None, 1.0) };
    let n_shown = recipe.shown.places(pipeline.sizes().n_frame).count() as u64;
    let mut clip = |given: &Given, tr| {
        let before = stage.runs();
        let mut draws = Draws::new(3, TrIndex(tr));
        let draw = |what, block: &mut [f32]| draws.fill(what, block);
        let frames = stage.generate(&given.conditions(), &recipe, draw, |_, _| true).unwrap();
        let after = stage.runs();
        assert_eq!(after.step - before.step, 3);
        assert_eq!(after.vae_decoder - before.vae_decoder, n_shown);
        assert_eq!(frames.n as u64, n_shown);
        let encoded = after.vae_encoder - before.vae_encoder;
        let [text, control] =
            [after.text_encoder - before.text_encoder, after.controlnet - before.controlnet];
        (frames, [text, encoded, control])
    };
    let (first, runs) = clip(&given, 5);
    assert_eq!(runs, [2, 17, 3]);
    let (again, runs) = clip(&given, 5);
    assert_eq!(runs, [0, 16, 0]);
    assert!(again == first, "the same seed and volume give the same clip");
    let (other, _) = clip(&given, 6);
    assert!(other != first, "another volume has other noise");
    // Another key frame, then another prompt.
    given.keyframe.reverse();
    assert_eq!(clip(&given, 5).1, [0, 17, 3]);
    let last = given.ids.len() - 2;
    given.ids[last] = 320;
    assert_eq!(clip(&given, 5).1, [1, 16, 3]);
}

#[test]
fn a_clip_is_cancelled_between_steps_and_the_next_one_is_complete() {
    let pipeline = Pipeline::read();
    let given = Given::of(&pipeline);
    let mut stage = pipeline.open(Set::Fused);
    let plan = pipeline.schedule().plan(Sampler::Lcm { steps: 2 }, Init::Reference).unwrap();
    let recipe = recipe(plan, None, 1.0);
    let draw = |_, block: &mut [f32]| block.fill(0.5);
    let asked = Cell::new(0);
    let stop_after_one = |done, _: &[f32]| {
        asked.set(asked.get() + 1);
        done < 1
    };
    let error = stage.generate(&given.conditions(), &recipe, draw, stop_after_one).unwrap_err();
    assert!(matches!(error, ModelError::Cancelled), "{error}");
    assert!(error.costs_one_window());
    assert_eq!((asked.get(), stage.runs().step, stage.runs().vae_decoder), (2, 1, 0));
    assert!(stage.generate(&given.conditions(), &recipe, draw, |_, _| true).is_ok());
}

#[test]
fn conditions_of_other_sizes_are_refused_and_say_which() {
    let pipeline = Pipeline::read();
    let given = Given::of(&pipeline);
    let mut stage = pipeline.open(Set::Fused);
    let recipe = recipe(Vec::new(), None, 1.0);
    let mut refused = |conditions: &ClipConditions<'_>| {
        let draw = |_, block: &mut [f32]| block.fill(0.0);
        let error = stage.generate(conditions, &recipe, draw, |_, _| true).unwrap_err();
        assert!(error.costs_one_window(), "{error}");
        error.to_string()
    };
    let whole = given.conditions();
    let picture = |pixels| Pictures { pixels, edge: given.edge };
    let short = refused(&ClipConditions { prompt: &whole.prompt[1..], ..whole });
    assert!(
        short.contains("a prompt's ids came with 76 values, the generator takes 77"),
        "{short}"
    );
    let empty = refused(&ClipConditions { prompt: &[], ..whole });
    assert!(empty.contains("with 0 values"), "{empty}");
    let small = refused(&ClipConditions { keyframe: picture(&given.keyframe[3..]), ..whole });
    assert!(small.contains("the key frame"), "{small}");
    let few = refused(&ClipConditions { blurry: picture(&given.keyframe), ..whole });
    assert!(few.contains("the blurry frames"), "{few}");
    let keyframe = Pictures { pixels: &[], edge: 0 };
    let nothing = refused(&ClipConditions { keyframe, ..whole });
    assert!(nothing.contains("the key frame came with 0 values"), "{nothing}");
}

#[test]
fn networks_of_another_size_are_refused_before_they_are_loaded() {
    let pipeline = Pipeline::read();
    let networks = pipeline.networks(Set::Split);
    let sizes = ClipSizes { text_dim: 768, ..pipeline.sizes() };
    let error = AnimateDiff::open(&networks, sizes, pipeline.schedule(), &common::on_cpu());
    let error = error.unwrap_err();
    assert!(matches!(error, ModelError::Family { family: "animatediff", .. }), "{error}");
    assert!(error.to_string().contains("768"), "{error}");
}

#[test]
fn pictures_of_another_size_are_scaled() {
    let pipeline = Pipeline::read();
    let given = Given::of(&pipeline);
    let mut stage = pipeline.open(Set::Fused);
    let mut latents = |pixels: &[f32], edge| {
        let draw = |_, block: &mut [f32]| block.fill(0.0);
        stage.start(&Pictures { pixels, edge }, &[], draw).unwrap()
    };
    let n = given.blurry.len() / given.keyframe.len();
    let (plain, large) = (vec![0.25; given.blurry.len()], vec![0.25; 3 * n * 100 * 100]);
    let apart = common::apart(&latents(&plain, given.edge), &latents(&large, 100));
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn a_network_that_gives_nan_costs_its_clip_and_is_named() {
    let pipeline = Pipeline::read();
    let mut given = Given::of(&pipeline);
    let mut stage = pipeline.open(Set::Fused);
    let recipe = recipe(Vec::new(), None, 1.0);
    let mut clip = |given: &Given| {
        let draw = |_, block: &mut [f32]| block.fill(0.0);
        stage.generate(&given.conditions(), &recipe, draw, |_, _| true)
    };
    let whole = std::mem::replace(&mut given.keyframe[0], f32::NAN);
    let error = clip(&given).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("`mean`") && error.costs_one_window(), "{error}");
    given.keyframe[0] = whole;
    assert!(clip(&given).is_ok());
}
