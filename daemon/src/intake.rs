//! The intake: receives messages from adapters and decides on each.
//!
//! The inbox receives every message and every command, in one order. [`ingest`] gives the verdict
//! on each message: the answer, whether to record it, and the events for the signal thread.

pub(crate) mod answers;
mod copies;
pub(crate) mod inbox;
mod index_set;
pub mod ingest;
pub(crate) mod peers;
pub mod recorded;
pub(crate) mod run_book;
pub mod verdict;
pub(crate) mod waiting;
