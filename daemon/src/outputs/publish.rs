//! Publishing: products to the PUB socket and the board.
//!
//! While feedback is blanked, subscribers get neutral results without pictures; the recording and
//! the results file keep the decoded ones.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use corticast_wire::{
    message::{Encoding, encode},
    socket::Publisher,
};
use serde::Serialize;
use serde_json::Value;

use super::board::Board;
use crate::{
    failpoint,
    product::{Product, clips::ClipPictures},
    queue::drop_oldest::Drain,
};

/// A product as it is published.
#[derive(Serialize)]
struct Published<'a> {
    #[serde(flatten)]
    product: &'a Product,
    /// Counts up per topic, so that a subscriber notices a gap.
    sequence: u64,
    /// A pair of clock readings that relates `*_ns` to wall time; only in `run` messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    clocks: Option<&'a Value>,
}

/// Publishes products until the feeder is dropped.
pub async fn publish(publisher: Arc<Publisher>, products: Drain<Product>, board: Board) {
    let mut sequences: BTreeMap<&'static str, u64> = BTreeMap::new();
    while let Some(product) = products.next().await {
        failpoint::point("publish");
        let topic = product.topic();
        let sequence = sequences.entry(topic).or_default();
        let product = as_shown(product);
        let clocks =
            matches!(product, Product::Run(_)).then(|| board.description().get("clocks")).flatten();
        let published = Published { product: &product, sequence: *sequence, clocks };
        let header = encode(&published, Encoding::MessagePack);
        let mut frames = vec![Bytes::from_static(topic.as_bytes()), header];
        match &product {
            Product::Conditions(report) if !report.blanked => frames.push(report.tensors.clone()),
            Product::Clip(clip) if !clip.blanked => frames.push(clip.pictures.frames.clone()),
            _ => {}
        }
        if let Err(error) = publisher.send(frames).await {
            tracing::warn!(%error, topic, "cannot publish a product");
        }
        let value = serde_json::to_value(&published).unwrap_or_default();
        board.put(topic, value);
        *sequence += 1;
    }
}

/// The product as subscribers get it: neutral and without pictures while feedback is blanked.
fn as_shown(product: Product) -> Product {
    match product {
        Product::Result(mut result) if result.blanked => {
            result.concepts = result.concepts.neutral();
            // The key stays, so that a display shows an empty caption.
            result.caption = result.caption.map(|_| String::new());
            Product::Result(result)
        }
        Product::Conditions(mut conditions) if conditions.blanked => {
            conditions.tensors = Bytes::new();
            Product::Conditions(conditions)
        }
        Product::Clip(mut clip) if clip.blanked => {
            clip.caption = clip.caption.map(|_| String::new());
            clip.pictures = ClipPictures::default();
            Product::Clip(clip)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use corticast_bold::{
        time::TrIndex,
        volume::{MadeFrom, ShiftInterpolation},
    };

    use super::*;
    use crate::product::results::{ConditionsReport, DecodedResult, Probabilities};

    #[test]
    fn while_feedback_is_blanked_nothing_decoded_leaves_the_daemon() {
        let run: Arc<str> = "sub-01".into();
        let names: Arc<[String]> = Arc::new(["cat".to_owned()]);
        let result = Product::Result(DecodedResult {
            run: Arc::clone(&run),
            index: TrIndex(3),
            stimulus_time_s: 1.0,
            acquisition_time_s: 5.0,
            received_ns: 0,
            stages_ns: BTreeMap::new(),
            published_ns: 0,
            concepts: Probabilities { names, values: vec![0.9], is_exclusive: false },
            caption: Some("a cat".to_owned()),
            failed_heads: Vec::new(),
            made_from: MadeFrom::Measured,
            shift: ShiftInterpolation::Nearest,
            dvars: None,
            blanked: true,
        });
        let Product::Result(shown) = as_shown(result) else { panic!("a result") };
        assert_eq!(shown.concepts.values, [0.5]);
        assert_eq!(shown.caption.as_deref(), Some(""));
        let conditions = Product::Conditions(ConditionsReport {
            run,
            index: TrIndex(3),
            stimulus_time_s: 1.0,
            received_ns: 0,
            published_ns: 0,
            blanked: true,
            tensors: Bytes::from_static(b"pictures"),
        });
        let Product::Conditions(shown) = as_shown(conditions) else { panic!("conditions") };
        assert!(shown.tensors.is_empty());
    }
}
