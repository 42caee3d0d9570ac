//! The intake: what each message from an adapter is worth.
//!
//! The inbox receives every message and every command, in one order. [`ingest`] gives the
//! verdict on each message: what to answer, whether to record it, and what the signal thread gets.

pub(crate) mod answers;
mod copies;
pub(crate) mod inbox;
pub mod ingest;
pub(crate) mod peers;
pub mod recorded;
mod run_book;
pub mod verdict;
