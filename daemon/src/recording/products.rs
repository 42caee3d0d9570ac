//! Which products are recorded, and in what form.

use bytes::Bytes;

use super::{recorder::Record, room::Kind};
use crate::{
    config::RecordingConfig,
    product::{Product, tensors::clip_to_safetensors},
};

/// Which products are recorded. A replay computes the others again.
#[derive(Clone, Copy, Debug)]
pub struct RecordedProducts {
    conditions: bool,
    clips: bool,
}

impl RecordedProducts {
    /// The choice made in the configuration.
    #[must_use]
    pub fn of(config: &RecordingConfig) -> Self {
        Self { conditions: config.conditions, clips: config.clips }
    }

    /// Whether a product is recorded.
    #[must_use]
    pub fn includes(self, product: &Product) -> bool {
        match product {
            Product::Conditions(_) => self.conditions,
            Product::Clip(_) => self.clips,
            _ => true,
        }
    }
}

/// The entry of a product at `at_ns` of the monotonic clock: tensors as a safetensors file, the
/// rest as JSON.
#[must_use]
pub fn recorded_entry(product: &Product, at_ns: u64) -> Record {
    let (topic, kind, ticket) = (product.topic(), Kind::Product, None);
    Record { topic, at_ns, data: bytes_of(product).into(), kind, ticket }
}

fn bytes_of(product: &Product) -> Bytes {
    match product {
        Product::Conditions(report) => report.tensors.clone(),
        Product::Clip(report) => clip_to_safetensors(report),
        _ => product.to_json().into(),
    }
}
