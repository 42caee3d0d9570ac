//! What is wrong or worth knowing, and what to do about it.

use serde_json::{Value, json};

/// Something that is wrong or worth knowing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Advice {
    /// It keeps volumes from being used, or makes them wrong.
    pub(crate) is_wrong: bool,
    /// What was found.
    pub(crate) found: String,
    /// What to do; empty if `found` says it.
    pub(crate) to_do: String,
}

/// Something that keeps volumes from being used, or makes them wrong.
pub(crate) fn wrong(found: impl Into<String>, to_do: impl Into<String>) -> Advice {
    Advice { is_wrong: true, found: found.into(), to_do: to_do.into() }
}

/// Something worth knowing.
pub(crate) fn note(found: impl Into<String>, to_do: impl Into<String>) -> Advice {
    Advice { is_wrong: false, found: found.into(), to_do: to_do.into() }
}

impl Advice {
    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({"wrong": self.is_wrong, "found": self.found, "to_do": self.to_do})
    }
}

/// The lines of a page: what is wrong, then what is good to know.
pub(crate) fn listed(all: &[Advice]) -> String {
    let mut page = String::new();
    for (is_wrong, title) in [(true, "What is wrong"), (false, "Good to know")] {
        let mut own = all.iter().filter(|advice| advice.is_wrong == is_wrong).peekable();
        if own.peek().is_some() {
            page += &format!("\n{title}\n");
        }
        for advice in own {
            page += &format!("  {}.\n", advice.found);
            if !advice.to_do.is_empty() {
                page += &format!("    → {}\n", advice.to_do);
            }
        }
    }
    page
}
