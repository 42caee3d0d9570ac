//! The reference's pipeline: its networks, and the inputs of its clips.

use std::fs;

use corticast_models::{
    generator::{
        animatediff::AnimateDiff,
        clip::{ClipConditions, ClipSizes, Pictures, Recipe},
        draw::Draw,
        frames::Shown,
        networks::{ClipNetworks, StepNetworks},
        schedule::Schedule,
        scheduler::Step,
    },
    manifest::{Dim, Role, TensorFacts},
};
use safetensors::SafeTensors;
use serde_json::Value;

use super::{f32s, file, folder, i64s, ids, listed, manifest, network, number, on_cpu, training};

use Dim::{Fixed, Open};

/// The pipeline's part of the manifest, and its tensors.
pub struct Pipeline {
    /// The pipeline's section of the manifest.
    pub facts: Value,
    inputs: Vec<u8>,
    prepared: Vec<u8>,
    first_step: Vec<u8>,
}

/// Which graphs make up a step.
#[derive(Clone, Copy, Debug)]
pub enum Set {
    /// SparseCtrl and UNet as two graphs.
    Split,
    /// One graph.
    Fused,
}

/// Both, with their names.
pub const SETS: [(Set, &str); 2] = [(Set::Split, "split"), (Set::Fused, "fused")];

impl Pipeline {
    /// Reads manifest and tensors.
    pub fn read() -> Self {
        let facts = manifest()["pipeline"].take();
        let read = |key| fs::read(file(&facts["files"], key)).unwrap();
        Self {
            inputs: read("inputs"),
            prepared: read("prepared"),
            first_step: read("first_step"),
            facts,
        }
    }

    /// Inputs of the reference.
    pub fn inputs(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.inputs).unwrap()
    }

    /// The prepared inputs of its steps.
    pub fn prepared(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.prepared).unwrap()
    }

    /// The result of its first step.
    pub fn first_step(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.first_step).unwrap()
    }

    /// Sizes of its clips.
    pub fn sizes(&self) -> ClipSizes {
        let context = self.prepared().tensor("text_context").unwrap().shape().to_vec();
        let latent = listed(&self.facts["latent"]);
        assert_eq!(latent[0], latent[1], "clips are square");
        ClipSizes {
            n_frame: number(&self.facts, "frames"),
            latent: latent[0] as usize,
            text_dim: context[2],
            n_text_token: context[1],
        }
    }

    /// Its schedule.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(training(&self.facts["scheduler"]))
    }

    /// The residuals of its SparseCtrl.
    pub fn residuals(&self) -> Vec<TensorFacts> {
        let tensors = self.first_step();
        let n = tensors.names().iter().filter(|name| name.starts_with("down_")).count();
        let names = (0..n).map(|k| format!("down_{k}")).chain(["mid".into()]);
        names
            .map(|name| {
                let channels = tensors.tensor(&name).unwrap().shape()[1];
                TensorFacts::f32(&name, &[Open, Fixed(channels), Open, Open])
            })
            .collect()
    }

    /// Its networks.
    pub fn networks(&self, set: Set) -> ClipNetworks {
        let f32 = TensorFacts::f32;
        let sizes = self.sizes();
        let (tokens, dim) = (Fixed(sizes.n_text_token), Fixed(sizes.text_dim));
        let path = |name: &str| folder().join("onnx").join(name);
        let context = |batch| f32("context", &[batch, tokens, dim]);
        let video = |name, batch| f32(name, &[batch, Fixed(4), Open, Open, Open]);
        let (cond, mask) =
            (video("cond", Fixed(1)), f32("mask", &[Fixed(1), Fixed(1), Open, Open, Open]));
        let timestep = || ids("timestep", &[Fixed(1)]);
        let picture = |name| f32(name, &[Open, Fixed(3), Open, Open]);
        let latent = |name| f32(name, &[Open, Fixed(4), Open, Open]);
        let step = match set {
            Set::Split => {
                let mut inputs = vec![video("sample", Open), timestep(), context(Open)];
                inputs.extend(self.residuals());
                StepNetworks::Split {
                    controlnet: network(
                        Role::ControlNet,
                        path("controlnet.onnx"),
                        vec![timestep(), context(Open), cond, mask, f32("scale", &[])],
                        self.residuals(),
                    ),
                    unet: network(
                        Role::Unet,
                        path("unet.onnx"),
                        inputs,
                        vec![video("noise_pred", Open)],
                    ),
                }
            }
            Set::Fused => StepNetworks::Fused(network(
                Role::DenoiseStep,
                path("denoise_step.onnx"),
                vec![
                    video("latents", Fixed(1)),
                    timestep(),
                    context(Fixed(2)),
                    cond,
                    mask,
                    f32("control_scale", &[]),
                    f32("guidance", &[]),
                ],
                vec![video("noise_pred", Open)],
            )),
        };
        ClipNetworks {
            text_encoder: network(
                Role::TextEncoder,
                path("text_encoder.onnx"),
                vec![ids("input_ids", &[Open, tokens])],
                vec![f32("last_hidden_state", &[Open, tokens, dim])],
            ),
            vae_encoder: network(
                Role::VaeEncoder,
                path("vae_encoder.onnx"),
                vec![picture("image")],
                vec![latent("mean"), latent("logvar")],
            ),
            vae_decoder: network(
                Role::VaeDecoder,
                path("vae_decoder.onnx"),
                vec![latent("latent")],
                vec![picture("image")],
            ),
            vae_scale: 0.18215,
            step,
        }
    }

    /// Its networks, opened.
    pub fn open(&self, set: Set) -> AnimateDiff {
        let networks = self.networks(set);
        AnimateDiff::open(&networks, self.sizes(), self.schedule(), &on_cpu()).unwrap()
    }

    /// The noise that the reference used.
    pub fn draw(&self, draw: Draw, block: &mut [f32]) {
        let name = match draw {
            Draw::Blurry => "vae_eps_motion",
            Draw::Keyframe => "vae_eps_key",
            Draw::Start => "noise",
            Draw::Step(_) => panic!("the reference's steps draw nothing"),
        };
        block.copy_from_slice(&f32s(&self.inputs(), name));
    }
}

/// The inputs of the reference's clips.
pub struct Given {
    /// Negative prompt, then prompt.
    pub ids: Vec<i64>,
    /// The six blurry frames.
    pub blurry: Vec<f32>,
    /// The key frame.
    pub keyframe: Vec<f32>,
    /// Pixels along an edge of blurry frames and key frame.
    pub edge: usize,
}

impl Given {
    /// The inputs of a pipeline.
    pub fn of(pipeline: &Pipeline) -> Self {
        let inputs = pipeline.inputs();
        Self {
            ids: i64s(&inputs, "input_ids"),
            blurry: f32s(&inputs, "blurry"),
            keyframe: f32s(&inputs, "keyframe"),
            edge: pipeline.sizes().image(),
        }
    }

    /// The blurry frames.
    pub fn blurry(&self) -> Pictures<'_> {
        Pictures { pixels: &self.blurry, edge: self.edge }
    }

    /// The key frame.
    pub fn keyframe(&self) -> Pictures<'_> {
        Pictures { pixels: &self.keyframe, edge: self.edge }
    }

    /// The same as input of the generator.
    pub fn conditions(&self) -> ClipConditions<'_> {
        let (negative, prompt) = self.ids.split_at(self.ids.len() / 2);
        ClipConditions { prompt, negative, blurry: self.blurry(), keyframe: self.keyframe() }
    }
}

/// A recipe that shows all frames.
pub fn recipe(plan: Vec<Step>, guidance: Option<f32>, control_scale: f32) -> Recipe {
    Recipe { plan, guidance, control_scale, shown: Shown::All }
}
