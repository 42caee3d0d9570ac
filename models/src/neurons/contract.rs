//! Inputs and outputs that the networks of a `neurons` model must have, from the sizes in its
//! manifest.

use crate::{
    error::ModelError,
    latent,
    manifest::{Dim, ElementType, Manifest, NetworkFacts, NeuronsFacts, Role, TensorFacts, listed},
};

/// Networks that every model needs.
const NEEDED: [Role; 3] = [Role::Brain, Role::Prior, Role::Motion];
/// Networks of other families or of a generator.
const FOREIGN: [Role; 11] = [
    Role::Decoder,
    Role::VaeEncoder,
    Role::TaesdEncoder,
    Role::TaesdDecoder,
    Role::TextEncoder,
    Role::ControlNet,
    Role::Unet,
    Role::UnetLcm,
    Role::UnetPlain,
    Role::DenoiseStep,
    Role::DenoiseStepPlain,
];
/// Networks that make up the caption head.
const CAPTION: [Role; 3] = [Role::CaptionPrefix, Role::CaptionEmbed, Role::CaptionDecoder];

/// Compares every network with its role, and the roles with each other.
pub(super) fn check(manifest: &Manifest, facts: &NeuronsFacts) -> Result<(), ModelError> {
    let refuse = |key, found: String, expected: String| ModelError::Family {
        path: manifest.path(),
        family: "neurons",
        key,
        found,
        expected,
    };
    let roles: Vec<&str> = manifest.networks.iter().map(|network| network.role.name()).collect();
    let needs =
        |role: Role, why: &str| refuse("network.role", roles.join(", "), format!("`{role}`{why}"));
    let has = |role: Role| manifest.network(role).is_some();
    if let Some(role) = NEEDED.into_iter().find(|&role| !has(role)) {
        return Err(needs(role, ""));
    }
    if let Some(role) = FOREIGN.into_iter().find(|&role| has(role)) {
        return Err(refuse("network.role", role.to_string(), "no such network".into()));
    }
    if has(Role::Objects) && !has(Role::Concepts) {
        return Err(needs(Role::Concepts, " with `objects`"));
    }
    if has(Role::Objects) && facts.class_states.is_none() {
        let expected = "the text states of the classes with `objects`";
        return Err(refuse("neurons.class_states", "missing".into(), expected.into()));
    }
    if CAPTION.into_iter().any(has) {
        if let Some(role) = CAPTION.into_iter().find(|&role| !has(role)) {
            return Err(needs(role, " together with the rest of the captioner"));
        }
        if facts.caption.is_none() {
            let expected = "the names of the tokens with a captioner";
            return Err(refuse("neurons.vocabulary", "missing".into(), expected.into()));
        }
    }
    for network in &manifest.networks {
        let (inputs, outputs) = tensors(network, manifest, facts);
        for (key, found, expected) in [
            ("network.inputs", &network.inputs, inputs),
            ("network.outputs", &network.outputs, outputs),
        ] {
            if *found != expected {
                let role = network.role;
                let expected = format!("{} with role `{role}`", listed(&expected));
                return Err(refuse(key, listed(found), expected));
            }
        }
        if network.role == Role::Concepts && network.classes.is_empty() {
            return Err(refuse("network.classes", "empty".into(), "names with `concepts`".into()));
        }
    }
    let decoder = manifest.network(Role::CaptionDecoder).zip(facts.caption.as_ref());
    if let Some((network, caption)) = decoder
        && !matches!(network.outputs[0].shape[1], Dim::Fixed(n) if n > caption.stop_id)
    {
        let expected = format!("logits of more than {} tokens", caption.stop_id);
        return Err(refuse("network.outputs", network.outputs[0].to_string(), expected));
    }
    Ok(())
}

/// Inputs and outputs of a network of this role. Dimensions that the role leaves to the network
/// are taken from it.
fn tensors(
    network: &NetworkFacts,
    manifest: &Manifest,
    facts: &NeuronsFacts,
) -> (Vec<TensorFacts>, Vec<TensorFacts>) {
    use Dim::{Fixed, Open};
    let f32 = TensorFacts::f32;
    let (n_frame, n_token, channels) =
        (Fixed(facts.n_frame), Fixed(facts.n_token), Fixed(facts.channels));
    let (text_dim, mask, latent) = (Fixed(facts.text_dim), Fixed(facts.mask), Fixed(facts.latent));
    let frames = || f32("frame_tokens", &[Open, n_frame, n_token, channels]);
    let latents = Fixed(latent::CHANNELS);
    let (embd, past) = facts.caption.as_ref().map_or((Fixed(1), [Open; 6]), |caption| {
        let width = Fixed(caption.embd / caption.heads);
        let past = [Fixed(caption.layers), Fixed(2), Open, Fixed(caption.heads), Open, width];
        (Fixed(caption.embd), past)
    });
    match network.role {
        Role::Decoder
        | Role::VaeEncoder
        | Role::TaesdEncoder
        | Role::TaesdDecoder
        | Role::TextEncoder
        | Role::ControlNet
        | Role::Unet
        | Role::UnetLcm
        | Role::UnetPlain
        | Role::DenoiseStep
        | Role::DenoiseStepPlain => (Vec::new(), Vec::new()),
        Role::Keyframe => {
            // The network itself decides how much noise it takes and how large its picture is.
            let noise = network.inputs.get(1).map(|noise| noise.shape_with(1)).unwrap_or_default();
            let noise: Vec<Dim> = noise.into_iter().map(Fixed).collect();
            let edge = network.outputs.first().and_then(|image| image.shape.last());
            let edge =
                Fixed(edge.map_or(1, |&edge| TensorFacts::f32("", &[edge]).shape_with(1)[0]));
            let tokens = f32("tokens", &[Fixed(1), n_token, channels]);
            let image = f32("image", &[Fixed(1), Fixed(3), edge, edge]);
            (vec![tokens, f32("noise", &noise)], vec![image])
        }
        Role::Brain => {
            let volumes = Fixed(manifest.signal.window_volumes.get());
            let bold = f32("bold", &[Open, volumes, Fixed(manifest.mask.n_voxel)]);
            (vec![bold], vec![f32("brain_tokens", &[Open, n_token, channels])])
        }
        Role::Prior => {
            let tokens = |name| f32(name, &[Open, n_token, channels]);
            let timestep =
                TensorFacts { name: "timestep".into(), shape: vec![Open], dtype: ElementType::I64 };
            let inputs = vec![tokens("image_embed"), timestep, tokens("brain_embed")];
            (inputs, vec![tokens("pred_x0")])
        }
        Role::Motion => (
            vec![f32("tokens", &[Open, n_token, channels])],
            vec![frames(), f32("text_embed", &[Open, text_dim])],
        ),
        Role::Concepts => {
            let n_class = Fixed(network.classes.len());
            (vec![frames()], vec![f32("probabilities", &[Open, n_class])])
        }
        Role::Objects => (
            vec![frames(), f32("text_states", &[Open, Open, text_dim])],
            vec![f32("mask_logits", &[Open, n_frame, Fixed(1), mask, mask])],
        ),
        Role::Reconstruction => (
            vec![frames(), f32("text_embed", &[Open, text_dim])],
            vec![f32("latents", &[Open, n_frame, latents, latent, latent])],
        ),
        Role::CaptionPrefix => (
            vec![f32("clip_text_embed", &[Open, text_dim])],
            vec![f32("prefix", &[Open, Fixed(1), embd])],
        ),
        Role::CaptionEmbed => {
            let ids = TensorFacts {
                name: "ids".into(),
                shape: vec![Open, Open],
                dtype: ElementType::I64,
            };
            (vec![ids], vec![f32("embeds", &[Open, Open, embd])])
        }
        Role::CaptionDecoder => {
            let n_token = network.outputs.first().and_then(|logits| logits.shape.get(1));
            let n_token = n_token.copied().unwrap_or(Open);
            let inputs = vec![f32("inputs_embeds", &[Open, Open, embd]), f32("past", &past)];
            (inputs, vec![f32("logits", &[Open, n_token]), f32("present", &past)])
        }
        Role::VaeDecoder => (
            vec![f32("latent", &[Open, latents, Open, Open])],
            vec![f32("image", &[Open, Fixed(3), Open, Open])],
        ),
    }
}
