//! Blanking: whether subscribers may see what is decoded.
//!
//! `blank` must hold from the moment at which the operator gets the answer, also for products that
//! were decoded earlier and still wait in a queue, and for clips under way. So the flag is read
//! when a product is sent, and the answer waits until no product is being sent that read the old
//! flag. The recording keeps what was decoded.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::board::Board;
use crate::product::{Product, clips::ClipPictures};

/// Whether subscribers may see what is decoded. Clones share one state.
#[derive(Clone, Default)]
pub struct Blanking(Arc<State>);

#[derive(Default)]
struct State {
    is_blanked: AtomicBool,
    /// Held for reading while a product is sent.
    sending: RwLock<()>,
    /// The same for sinks: a disk or a program that hangs delays no subscriber.
    sending_to_sink: RwLock<()>,
}

/// Proof that a product may be sent: `blank` waits until it is dropped.
pub(super) struct Sending<'a> {
    is_blanked: bool,
    _held: RwLockReadGuard<'a, ()>,
}

impl Blanking {
    /// The state at the start of a session, or after a restart.
    #[must_use]
    pub fn new(is_blanked: bool) -> Self {
        let blanking = Self::default();
        blanking.0.is_blanked.store(is_blanked, Ordering::SeqCst);
        blanking
    }

    /// Whether subscribers get neutral feedback.
    #[must_use]
    pub fn is_blanked(&self) -> bool {
        self.0.is_blanked.load(Ordering::SeqCst)
    }

    /// Hides everything decoded. Once this returns, no product is sent that shows it, and none is
    /// on the board.
    pub async fn blank(&self, board: &Board) {
        self.0.is_blanked.store(true, Ordering::SeqCst);
        let none_is_being_sent = self.0.sending.write().await;
        board.change_all(neutral);
        drop(none_is_being_sent);
        drop(self.0.sending_to_sink.write().await);
    }

    /// Shows what is decoded from now on. Products that passed [`Blanking::mark`] before stay
    /// hidden.
    pub fn unblank(&self) {
        self.0.is_blanked.store(false, Ordering::SeqCst);
    }

    /// Marks a product as blanked if subscribers get neutral feedback now, so that a later
    /// `unblank` does not show it.
    #[must_use]
    pub fn mark(&self, product: Product) -> Product {
        if self.is_blanked() { blanked(product) } else { product }
    }

    /// Call before sending, and keep the value until the product is sent.
    pub(super) async fn sending(&self) -> Sending<'_> {
        let held = self.0.sending.read().await;
        Sending { is_blanked: self.is_blanked(), _held: held }
    }

    /// As [`Blanking::sending`], for a sink.
    pub(super) async fn sending_to_sink(&self) -> Sending<'_> {
        let held = self.0.sending_to_sink.read().await;
        Sending { is_blanked: self.is_blanked(), _held: held }
    }
}

impl Sending<'_> {
    /// Whether what was decoded before must not be sent.
    pub(super) fn is_blanked(&self) -> bool {
        self.is_blanked
    }

    /// The product as subscribers get it: neutral and without pictures while feedback is blanked.
    pub(super) fn shown(&self, product: Product) -> Product {
        shown(if self.is_blanked { blanked(product) } else { product })
    }
}

/// The product as the participant sees it: neutral and without pictures if it is marked as blanked.
/// A feedback score shows what was shown, never whether it was the participant's own.
pub(super) fn shown(product: Product) -> Product {
    match product {
        blanked if is_blanked(&blanked) => neutral(blanked),
        Product::Feedback(feedback) => Product::Feedback(feedback.published()),
        other => other,
    }
}

fn is_blanked(product: &Product) -> bool {
    match product {
        Product::Result(result) => result.blanked,
        Product::Conditions(conditions) => conditions.blanked,
        Product::Clip(clip) => clip.blanked,
        Product::Feedback(feedback) => feedback.blanked,
        Product::Volume(_) | Product::Run(_) | Product::Status(_) => false,
    }
}

fn blanked(mut product: Product) -> Product {
    match &mut product {
        Product::Result(result) => result.blanked = true,
        Product::Conditions(conditions) => conditions.blanked = true,
        Product::Clip(clip) => clip.blanked = true,
        Product::Feedback(feedback) => feedback.blanked = true,
        Product::Volume(_) | Product::Run(_) | Product::Status(_) => {}
    }
    product
}

/// The product with everything decoded replaced by neutral values, and marked as blanked.
fn neutral(product: Product) -> Product {
    match blanked(product) {
        Product::Result(mut result) => {
            result.concepts = result.concepts.neutral();
            // The key stays, so that a display shows an empty caption.
            result.caption = result.caption.map(|_| String::new());
            Product::Result(result)
        }
        Product::Conditions(mut conditions) => {
            conditions.tensors = Bytes::new();
            Product::Conditions(conditions)
        }
        Product::Clip(mut clip) => {
            clip.caption = clip.caption.map(|_| String::new());
            clip.pictures = ClipPictures::default();
            Product::Clip(clip)
        }
        Product::Feedback(feedback) => Product::Feedback(feedback.neutral()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
