//! pyneal's results server: clients ask for the value of a volume.
//!
//! Request: four digits, the volume's index from 0. Answer: `{"average": 2432.0, "foundResults":
//! true}`, or `{"foundResults": false}` while there is no value, while feedback is blanked, and for
//! anything that is no number. Source: `src/resultsServer.py` of pyneal.

use super::{
    event::{Event, is_decoded},
    server::{Answer, Values},
    sink::Sink,
};
use crate::config::sinks::ValueChoice;

const NOT_FOUND: &str = "{\"foundResults\": false}\n";

/// The sink.
pub(super) struct Pyneal {
    values: Values,
}

/// Answers clients.
#[derive(Clone)]
pub(super) struct Results {
    values: Values,
    is_decoded: bool,
}

impl Pyneal {
    pub(super) fn new(choice: &ValueChoice) -> (Self, Results) {
        let values = Values::default();
        (Self { values: values.clone() }, Results { values, is_decoded: is_decoded(choice) })
    }
}

impl Sink for Pyneal {
    fn name(&self) -> &'static str {
        "pyneal"
    }

    fn deliver(&mut self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::Start { .. } => self.values.clear(),
            Event::Value(value) => self.values.set(value.index, value.value),
            Event::Volume { .. } | Event::End => {}
        }
        Ok(())
    }
}

impl Answer for Results {
    fn is_whole(request: &[u8]) -> bool {
        request.len() >= 4
    }

    fn answer(&self, request: &[u8], is_blanked: bool) -> Option<String> {
        let asked = std::str::from_utf8(request).ok().and_then(|text| text.trim().parse().ok());
        let value = asked.and_then(|index| self.values.get(index));
        Some(match value.filter(|_| !(is_blanked && self.is_decoded)) {
            Some(value) => format!("{{\"average\": {value:?}, \"foundResults\": true}}\n"),
            None => NOT_FOUND.to_owned(),
        })
    }
}
