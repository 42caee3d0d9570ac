//! Clips that fail: the operator is told about the first of several failures in a row.

use crate::{
    clock::monotonic_ns,
    product::{Product, reports::StatusReport},
};

/// Whether the last clip failed.
#[derive(Default)]
pub(super) struct Failures(bool);

impl Failures {
    /// Notes that a clip failed.
    pub(super) fn fail(&mut self, message: String, out: &impl Fn(Product)) {
        if !std::mem::replace(&mut self.0, true) {
            let message =
                format!("{message}; further failures only count in corticast_clips_failed_total");
            status("warning", message, out);
        }
    }

    /// Notes that a clip was made.
    pub(super) fn end(&mut self) {
        self.0 = false;
    }
}

/// Sends the operator a message of level `alarm` or `warning`.
pub(super) fn status(level: &'static str, message: String, out: &impl Fn(Product)) {
    out(Product::Status(StatusReport { level, message, published_ns: monotonic_ns() }));
}
