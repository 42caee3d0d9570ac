//! The board: the state that `query` returns to clients that join late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::Value;

use crate::product::Product;

/// A product as it is published.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Posted {
    #[serde(flatten)]
    pub(super) product: Product,
    /// Counts up per topic, so that a subscriber notices a gap.
    pub(super) sequence: u64,
    /// A pair of clock readings that relates `*_ns` to wall time; only in `run` messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clocks: Option<Value>,
}

impl Posted {
    fn header(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// The last product of every topic, and a description of the session.
#[derive(Clone)]
pub struct Board {
    description: Arc<Value>,
    last: Arc<Mutex<BTreeMap<&'static str, Posted>>>,
}

impl Board {
    /// A board without products.
    pub fn new(description: Value) -> Self {
        Self { description: Arc::new(description), last: Arc::default() }
    }

    /// The description: versions, clocks, configuration and model.
    pub fn description(&self) -> &Value {
        &self.description
    }

    /// The last header of a topic.
    pub fn last(&self, topic: &str) -> Option<Value> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(topic).map(Posted::header)
    }

    /// The last header of every topic.
    pub fn all(&self) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Value::Object(last.iter().map(|(topic, v)| ((*topic).to_owned(), v.header())).collect())
    }

    /// Replaces the last product of a topic.
    pub(super) fn put(&self, posted: Posted) {
        let topic = posted.product.topic();
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, posted);
    }

    /// Changes every product on the board.
    pub(super) fn change_all(&self, change: impl Fn(Product) -> Product) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for posted in last.values_mut() {
            posted.product = change(posted.product.clone());
        }
    }
}
