//! What the adapters log while the doctor listens: they say what is wrong, and what to do, already.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Different texts that are kept; further ones are only counted.
const MAX_TEXTS: usize = 64;
/// What adapters say when somebody connects.
const CONNECTED: [&str; 4] =
    ["a sender is connected", "announced itself", "says hello", "association"];

/// Warnings and errors, each once, with how often it was said. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    texts: Vec<(String, u64)>,
    n_more: u64,
    is_connected: bool,
}

impl Heard {
    /// The warnings so far.
    pub(super) fn warnings(&self) -> Vec<(String, u64)> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut texts = said.texts.clone();
        if said.n_more > 0 {
            texts.push(("further warnings, which the log has".to_owned(), said.n_more));
        }
        texts
    }

    /// Whether somebody has connected.
    pub(super) fn is_connected(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_connected
    }

    fn hear(&self, is_warning: bool, text: String) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.is_connected |= CONNECTED.iter().any(|words| text.contains(words));
        if !is_warning {
            return;
        }
        // Two that differ in their numbers only are one.
        let form = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        let n_known = said.texts.len();
        match said.texts.iter_mut().find(|(known, _)| form(known) == form(&text)) {
            Some((_, n)) => *n += 1,
            None if n_known < MAX_TEXTS => said.texts.push((text, 1)),
            None => said.n_more += 1,
        }
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("corticast") {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        self.hear(*metadata.level() <= Level::WARN, text.whole());
    }
}

/// The message of an event, with its fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        let message = self.message.trim_end_matches('.').to_owned();
        if self.fields.is_empty() { message } else { format!("{message} ({})", self.fields) }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        if field.name() == "message" {
            write!(self.message, "{value:?}").ok();
        } else {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{comma}{} {value:?}", field.name()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn warnings_are_kept_once_with_their_reasons() {
        let heard = Heard::default();
        let subscriber = tracing_subscriber::registry().with(heard.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("listening");
            for volume in [3, 4, 15] {
                tracing::warn!(volume, reason = "too short", "volume refused");
            }
            tracing::debug!("afni: a sender is connected");
        });
        let expected = ("volume refused (volume 3, reason \"too short\")".to_owned(), 3);
        assert_eq!(heard.warnings(), [expected]);
        assert!(heard.is_connected());
    }
}
