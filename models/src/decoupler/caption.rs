//! The caption head: a description of the clip, one token at a time.
//!
//! A GPT-2 whose first input is a projection of the clip's text embedding. Each step gives the
//! logits of the next token, and the keys and values of all tokens so far, which stay on the
//! device for the next step. Decoding is greedy: the most probable of CLIP's tokens, the first
//! one of several. A caption ends with the stop token, or at the length that the model was
//! trained on.

use crate::{
    error::ModelError,
    manifest::{CaptionFacts, NetworkFacts},
    network::{Input, Network, Runtime},
    vocabulary::Vocabulary,
};

/// Smallest norm that a vector is divided by, as in PyTorch's `normalize`.
const MIN_NORM: f32 = 1e-12;

/// A caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// The text.
    pub text: String,
    /// Its tokens, with the stop token if the caption reached it.
    pub ids: Vec<i64>,
}

/// The caption head. See the module docs.
#[derive(Debug)]
pub struct CaptionHead {
    prefix: Box<dyn Network>,
    embed: Box<dyn Network>,
    decoder: Box<dyn Network>,
    vocabulary: Vocabulary,
    /// Number of logits; those after the stop token are not CLIP's tokens.
    n_logit: usize,
    stop_id: usize,
    max_tokens: usize,
    embd: usize,
    /// Shape of the empty keys and values before the first step: layers, key or value, batch,
    /// heads, tokens, width of a head.
    no_past: [usize; 6],
}

impl CaptionHead {
    /// Opens the head, given its three networks in the order of their use.
    ///
    /// # Errors
    ///
    /// Fails when the vocabulary is invalid or a network cannot be opened.
    pub fn open(
        [prefix, embed, decoder]: [&NetworkFacts; 3],
        facts: &CaptionFacts,
        runtime: &dyn Runtime,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            vocabulary: Vocabulary::read(&facts.vocabulary, facts.stop_id)?,
            prefix: runtime.open(prefix)?,
            embed: runtime.open(embed)?,
            decoder: runtime.open(decoder)?,
            n_logit: decoder_logits(decoder),
            stop_id: facts.stop_id,
            max_tokens: facts.max_tokens,
            embd: facts.embd,
            no_past: [facts.layers, 2, 1, facts.heads, 0, facts.embd / facts.heads],
        })
    }

    /// Writes a caption from a text embedding, not normalised. Shape `[text_dim]`.
    ///
    /// # Errors
    ///
    /// Fails when inference fails or an output is not finite. The next clip may succeed.
    pub fn write(&mut self, text_embed: &[f32]) -> Result<Caption, ModelError> {
        let norm = text_embed.iter().map(|value| value * value).sum::<f32>().sqrt().max(MIN_NORM);
        let direction: Vec<f32> = text_embed.iter().map(|value| value / norm).collect();
        let ids = self.greedy(&direction, |_| {})?;
        Ok(Caption { text: self.vocabulary.decode(&ids), ids })
    }

    /// The ids of a caption, given the input of the prefix network, shape `[text_dim]`. `see` gets
    /// the logits of every step.
    ///
    /// # Errors
    ///
    /// See [`CaptionHead::write`].
    pub fn greedy(
        &mut self,
        direction: &[f32],
        mut see: impl FnMut(&[f32]),
    ) -> Result<Vec<i64>, ModelError> {
        let (embd, stop_id, n_logit) = (self.embd, self.stop_id, self.n_logit);
        let mut step = vec![0.0; embd];
        self.prefix.run_into(&[Input::F32(&[1, direction.len()], direction)], &mut step)?;
        let mut ids: Vec<i64> = Vec::with_capacity(self.max_tokens);
        let mut past = None;
        while ids.len() < self.max_tokens {
            let step_shape = [1, 1, embd];
            let past_input = match &past {
                Some(past) => Input::Kept(past),
                None => Input::F32(&self.no_past, &[]),
            };
            let inputs = [Input::F32(&step_shape, &step), past_input];
            let (id, present) = {
                let mut outputs = self.decoder.run(&inputs)?;
                let logits = outputs.f32(0, n_logit)?;
                see(logits);
                (most_probable(&logits[..=stop_id]), outputs.keep(1)?)
            };
            ids.push(id as i64);
            if id == stop_id || ids.len() == self.max_tokens {
                break;
            }
            past = Some(present);
            self.embed.run_into(&[Input::I64(&[1, 1], &[id as i64])], &mut step)?;
        }
        Ok(ids)
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> [&dyn Network; 3] {
        [self.prefix.as_ref(), self.embed.as_ref(), self.decoder.as_ref()]
    }
}

/// Tokens of the decoder's vocabulary, from the shape of its logits `[batch, n_logit]`.
fn decoder_logits(decoder: &NetworkFacts) -> usize {
    decoder.outputs[0].shape_with(1).last().copied().unwrap_or(0)
}

fn most_probable(logits: &[f32]) -> usize {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best
}
