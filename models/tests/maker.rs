//! Clips of the shipped video networks, from conditions of the shipped model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod common;

use std::path::{Path, PathBuf};

use corticast_bold::time::TrIndex;
use corticast_models::{
    conditions::Conditions,
    error::ModelError,
    generator::{
        Mode,
        frames::Shown,
        maker::{Maker, MakerOptions, ModelNetworks, distance},
        scheduler::Init,
        set::{Coder, GraphChoice},
    },
    manifest::{Manifest, video::VideoManifest},
};

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(name)
}

fn model() -> ModelNetworks {
    ModelNetworks::of(&Manifest::read(&demo("")).unwrap()).unwrap()
}

fn options(mode: Mode) -> MakerOptions {
    MakerOptions {
        mode,
        steps: 2,
        init: Init::Reference,
        guidance: None,
        control_scale: 1.0,
        shown: Shown::Evaluated,
        graphs: GraphChoice::Auto,
        coder: Coder::Vae,
        seed: 3,
    }
}

fn open(options: MakerOptions) -> Result<Maker, ModelError> {
    let set = VideoManifest::read(&demo("video")).unwrap();
    Maker::open(options, &model(), Some(&set), &common::on_cpu())
}

/// Latents that change over the frames, an object in the lower half, and a caption.
fn conditions() -> Conditions {
    let sizes = model().sizes;
    let latents = sizes.n_frame * 4 * sizes.latent * sizes.latent;
    let mask = sizes.n_frame * sizes.mask * sizes.mask;
    let is_object = |at: usize| at % (sizes.mask * sizes.mask) >= sizes.mask * sizes.mask / 2;
    Conditions {
        sizes,
        brain_tokens: vec![0.0; sizes.n_token * sizes.channels],
        tokens: vec![0.5; sizes.n_token * sizes.channels],
        text_embed: vec![0.1; sizes.text_dim],
        probabilities: None,
        mask: Some((0..mask).map(|at| u8::from(is_object(at))).collect()),
        latents: Some((0..latents).map(|at| 0.3 * (at as f32 * 0.05).sin()).collect()),
        caption_ids: None,
        caption: Some("a red ball".to_owned()),
    }
}

#[test]
fn each_mode_makes_the_clip_that_seed_and_volume_say() {
    for (mode, graphs) in [
        (Mode::Live, GraphChoice::Split),
        (Mode::Live, GraphChoice::Fused),
        (Mode::Reference, GraphChoice::Fused),
    ] {
        let options = MakerOptions { graphs, ..options(mode) };
        let mut maker = open(options.clone()).unwrap();
        assert_eq!(maker.n_step(), 2);
        let mut clip = |tr| maker.make(&conditions(), TrIndex(tr), |_| true).unwrap();
        let (first, other) = (clip(5), clip(6));
        assert_eq!((first.frames.n, first.frames.edge), (6, 64));
        assert_eq!((first.blurry.n, first.blurry.edge), (6, 64));
        assert!(first.frames != other.frames && first.blurry == other.blurry);
        // Another maker makes the same clips, in any order.
        let mut elsewhere = open(options).unwrap();
        let mut clip = |tr| elsewhere.make(&conditions(), TrIndex(tr), |_| true).unwrap();
        assert!(clip(6) == other && clip(5) == first, "{mode} {graphs}");
    }
}

/// Residuals are kept only with split graphs, which must not change the clip. A fused graph may
/// add numbers in another order.
#[test]
fn split_and_fused_graphs_make_the_same_clip() {
    let clip = |graphs| {
        let mut maker = open(MakerOptions { graphs, ..options(Mode::Live) }).unwrap();
        maker.make(&conditions(), TrIndex(5), |_| true).unwrap().frames.rgb
    };
    let (split, fused) = (clip(GraphChoice::Split), clip(GraphChoice::Fused));
    let apart = split.iter().zip(&fused).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(apart <= Some(1), "{apart:?} of 255");
}

#[test]
fn mode_still_shows_only_the_blurry_frames() {
    let mut maker = Maker::open(options(Mode::Still), &model(), None, &common::on_cpu()).unwrap();
    let clip = maker.make(&conditions(), TrIndex(0), |_| panic!("there are no steps")).unwrap();
    assert!(clip.frames == clip.blurry && clip.frames.n == 6);
    // Outside the object latents have half the weight, so the frames are nearer to the decoder's
    // picture of zeros.
    let nothing = Conditions { latents: Some(vec![0.0; 6 * 4 * 64]), ..conditions() };
    let nothing = maker.make(&nothing, TrIndex(0), |_| true).unwrap().frames.rgb;
    let mut unmasked = conditions();
    unmasked.mask = None;
    let unmasked = maker.make(&unmasked, TrIndex(0), |_| true).unwrap().frames.rgb;
    let upper = 64 * 64 / 4;
    let from_nothing = |frames: &[u8]| -> u32 {
        frames[..upper].iter().zip(&nothing).map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    };
    assert!(from_nothing(&clip.frames.rgb) < from_nothing(&unmasked));
    assert_eq!(open(options(Mode::Still)).unwrap().n_step(), 0);
}

#[test]
fn a_long_caption_is_cut_and_the_clip_records_it() {
    let mut maker = open(options(Mode::Live)).unwrap();
    let mut clip = |caption: Option<&str>| {
        let conditions = Conditions { caption: caption.map(str::to_owned), ..conditions() };
        maker.make(&conditions, TrIndex(5), |_| true).unwrap()
    };
    let (none, empty) = (clip(None), clip(Some("")));
    assert!(none == empty && !none.caption_cut, "no caption is an empty prompt");
    let long = "ball ".repeat(76);
    assert!(clip(Some(&long)).caption_cut);
    assert!(!clip(Some(&"ball ".repeat(75))).caption_cut, "75 tokens, start and end fit into 77");
}

#[test]
fn conditions_without_latents_cost_their_clip_and_name_the_head() {
    let mut maker = open(options(Mode::Live)).unwrap();
    let without = Conditions { latents: None, ..conditions() };
    let error = maker.make(&without, TrIndex(5), |_| true).unwrap_err();
    assert!(error.costs_one_window() && error.to_string().contains("`reconstruction`"), "{error}");
    assert!(maker.make(&conditions(), TrIndex(5), |_| true).is_ok());
    let error = maker.make(&conditions(), TrIndex(5), |done| done < 1).unwrap_err();
    assert!(matches!(error, ModelError::Cancelled), "{error}");
}

#[test]
fn an_impossible_choice_is_refused_before_the_set_is_loaded() {
    let refused = |options| open(options).unwrap_err().to_string();
    let message = refused(MakerOptions { steps: 51, ..options(Mode::Live) });
    assert!(message.contains("must be 1 to 50, got 51"), "{message}");
    let message = refused(MakerOptions { coder: Coder::Taesd, ..options(Mode::Live) });
    assert!(message.contains("graphs.clip.taesd"), "{message}");
    let without = Maker::open(options(Mode::Live), &model(), None, &common::on_cpu());
    assert!(without.unwrap_err().to_string().contains("`live` needs a set"));
}

#[test]
fn networks_of_another_precision_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(demo("video")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("video.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"fp16-storage\"", "\"fp16\"", 1)).unwrap();
    let set = VideoManifest::read(folder.path()).unwrap();
    let error = Maker::open(options(Mode::Live), &model(), Some(&set), &common::on_cpu());
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`precision`") && message.contains("\"fp16-storage\""), "{message}");
}

#[test]
fn the_distance_of_conditions_is_that_of_latents_and_captions() {
    let before = conditions();
    assert!(distance(&conditions(), &before).abs() < 1e-12);
    let mut louder = conditions();
    louder.latents.as_mut().unwrap().iter_mut().for_each(|value| *value *= 1.1);
    assert!((distance(&louder, &before) - 0.1).abs() < 1e-5);
    let words = Conditions { caption: Some("a blue ball".to_owned()), ..conditions() };
    assert!(distance(&words, &before).is_infinite());
    let none = Conditions { latents: None, ..conditions() };
    assert!(distance(&none, &before).is_infinite());
}
