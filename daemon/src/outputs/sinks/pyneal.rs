//! pyneal's results server: clients ask for the value of a volume.
//!
//! Request: four digits, the volume's index from 0. Answer: `{"average": 2432.0, "foundResults":
//! true}`, or `{"foundResults": false}` while there is no value, while feedback is blanked, and for
//! anything that is no number. Source: `src/resultsServer.py` of pyneal.

use super::{
    event::is_decoded,
    server::{Answer, Values},
};
use crate::config::sinks::ValueChoice;

const NOT_FOUND: &str = "{\"foundResults\": false}\n";

/// Answers clients.
#[derive(Clone)]
pub(super) struct Results {
    values: Values,
    is_decoded: bool,
}

impl Results {
    /// Answers with these values.
    pub(super) fn new(values: Values, choice: &ValueChoice) -> Self {
        Self { values, is_decoded: is_decoded(choice) }
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
