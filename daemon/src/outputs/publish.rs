//! Publishing: products to the PUB socket and the board.
//!
//! While feedback is blanked, subscribers get neutral results without pictures
//! ([`super::blanking`]); the recording and the results file keep the decoded ones.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use corticast_wire::{
    message::{Encoding, encode},
    socket::Publisher,
};

use super::{
    blanking::Blanking,
    board::{Board, Posted},
};
use crate::{failpoint, product::Product, queue::drop_oldest::Drain};

/// Publishes products until the feeder is dropped.
pub async fn publish(
    publisher: Arc<Publisher>,
    products: Drain<Product>,
    board: Board,
    blanking: Blanking,
) {
    let mut sequences: BTreeMap<&'static str, u64> = BTreeMap::new();
    while let Some(product) = products.next().await {
        failpoint::point("publish");
        // `blank` is confirmed only when this product is sent and on the board.
        let sending = blanking.sending().await;
        let topic = product.topic();
        let sequence = sequences.entry(topic).or_default();
        let product = sending.shown(product);
        let clocks = matches!(product, Product::Run(_))
            .then(|| board.description().get("clocks").cloned())
            .flatten();
        let posted = Posted { product, sequence: *sequence, clocks };
        let header = encode(&posted, Encoding::MessagePack);
        let mut frames = vec![Bytes::from_static(topic.as_bytes()), header];
        match &posted.product {
            Product::Conditions(report) if !report.blanked => frames.push(report.tensors.clone()),
            Product::Clip(clip) if !clip.blanked => frames.push(clip.pictures.frames.clone()),
            _ => {}
        }
        if let Err(error) = publisher.send(frames).await {
            tracing::warn!(%error, topic, "cannot publish a product");
        }
        board.put(posted);
        *sequence += 1;
    }
}
