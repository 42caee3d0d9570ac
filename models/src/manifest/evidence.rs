//! The `[evidence]` section: how a linear decoder adds up the evidence of its windows.

use serde::Deserialize;

use super::{
    error::ManifestError,
    facts::{Family, SignalFacts},
    network::{NetworkFacts, find},
    read::Document,
    role::Role,
};

/// How the evidence of several windows is added up. See [`crate::evidence`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidenceFacts {
    /// Position of the class that is no answer among the decoder's classes.
    pub rest: usize,
    /// Mean length of a block in the training runs, in seconds; at least a TR.
    pub block_s: f64,
    /// Mean length of the rest between blocks in the training runs, in seconds; at least a TR.
    pub rest_s: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceWritten {
    rest: String,
    block_s: f64,
    rest_s: f64,
}

/// Longest block or rest, in seconds: longer than any run.
const MOST_S: f64 = 1e5;

impl EvidenceWritten {
    /// Checks the section against the rest of the manifest.
    pub(super) fn check(
        self,
        family: Family,
        signal: &SignalFacts,
        networks: &[NetworkFacts],
        document: &Document,
    ) -> Result<EvidenceFacts, ManifestError> {
        if family != Family::Linear {
            let reason = "is set, but only family `linear` uses it; remove it";
            return Err(document.refuse("evidence", reason));
        }
        let tr_s = signal.repetition_time.as_secs();
        for (key, found) in [("block_s", self.block_s), ("rest_s", self.rest_s)] {
            if !(tr_s..=MOST_S).contains(&found) {
                let reason = format!("is {found}, expected {tr_s} (the TR) to {MOST_S} s");
                return Err(document.refuse(&format!("evidence.{key}"), reason));
            }
        }
        let classes = find(networks, Role::Decoder).map_or(&[][..], |network| &network.classes);
        let rest = classes.iter().position(|class| *class == self.rest);
        // Without rest there have to be answers left.
        let Some(rest) = rest.filter(|_| classes.len() > 1) else {
            let reason = format!(
                "is {:?}, expected one of the decoder's classes and another one beside it: {}",
                self.rest,
                classes.join(", ")
            );
            return Err(document.refuse("evidence.rest", reason));
        };
        Ok(EvidenceFacts { rest, block_s: self.block_s, rest_s: self.rest_s })
    }
}
