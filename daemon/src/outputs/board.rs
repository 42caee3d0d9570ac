//! The board: the state that `query` returns to clients that join late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

/// The last header of every topic, and a description of the session.
#[derive(Clone)]
pub struct Board {
    description: Arc<Value>,
    last: Arc<Mutex<BTreeMap<&'static str, Value>>>,
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
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// The last header of every topic.
    pub fn all(&self) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Value::Object(last.iter().map(|(topic, v)| ((*topic).to_owned(), v.clone())).collect())
    }

    /// Replaces the last header of a topic.
    pub fn put(&self, topic: &'static str, header: Value) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, header);
    }
}
