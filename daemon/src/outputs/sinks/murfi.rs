//! MURFI's InfoServer: clients ask for the value of a time point in XML.
//!
//! Request: a line with `<get dataid=":site:study:series:timepoint:history:module:dataname:roi:">`,
//! time points from 1, `*` for the newest. The answer repeats name and region of the request, since
//! a session has one value: a set-up that asks for several regions gets the same number for each.
//! While there is no value, or feedback is blanked, the answer is `<info>` without `<data>`.
//! Source: `RtInfoServer.cpp` of MURFI.

use super::{
    event::is_decoded,
    server::{Answer, Values},
};
use crate::config::sinks::ValueChoice;

/// Parts of a `dataid`.
const N_PART: usize = 8;

/// Answers clients.
#[derive(Clone)]
pub(super) struct InfoServer {
    values: Values,
    is_decoded: bool,
}

impl InfoServer {
    /// Answers with these values.
    pub(super) fn new(values: Values, choice: &ValueChoice) -> Self {
        Self { values, is_decoded: is_decoded(choice) }
    }

    /// The element with the value that a request asks for.
    fn data(&self, request: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(request).ok()?;
        let id = text.split_once("dataid=\"")?.1.split_once('"')?.0;
        let id = id.strip_prefix(':')?.strip_suffix(':')?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
        let mut parts: Vec<&str> = id.split(':').collect();
        // The answer repeats these parts, so they must not be able to end an attribute.
        if parts.len() != N_PART || !parts.iter().all(|part| part.chars().all(is_plain)) {
            return None;
        }
        let (index, value) = match parts[3] {
            "*" => self.values.last()?,
            number => {
                let index = number.parse::<u32>().ok()?.checked_sub(1)?;
                (index, self.values.get(index)?)
            }
        };
        let (tr, name, roi) = ((u64::from(index) + 1).to_string(), parts[6], parts[7]);
        parts[3] = &tr;
        Some(format!(
            "<data name=\"{name}\" roi=\"{roi}\" tr=\"{tr}\" dataid=\":{}:\">{value:.6} </data>",
            parts.join(":")
        ))
    }
}

impl Answer for InfoServer {
    fn is_whole(request: &[u8]) -> bool {
        request.ends_with(b"\n") || request.ends_with(b"</info>")
    }

    fn answer(&self, request: &[u8], is_blanked: bool) -> Option<String> {
        let data = self.data(request).filter(|_| !(is_blanked && self.is_decoded));
        let data = data.unwrap_or_default();
        Some(format!("<?xml version=\"1.0\" ?><info>{data}</info>\n"))
    }
}
