//! The recording: one or more MCAP files ([`segments`]) for each session, from which the session
//! can be continued, replayed and exported.
//!
//! [`recorder`] writes it from its own thread, [`reader`] reads it entry by entry, and [`log`]
//! passes the entries through ingest to get their events. [`restore`] continues a session after a
//! restart; [`recover`] makes one whole file of the segments.

mod backlog;
pub mod belongs;
pub(crate) mod compare;
pub mod disk;
pub mod fault;
#[cfg(test)]
mod faulty;
pub mod file;
#[cfg(test)]
pub(crate) mod fixture;
pub mod format;
pub mod log;
pub mod products;
pub mod reader;
pub mod recorder;
pub mod recover;
pub mod restore;
pub mod room;
mod search;
mod seek;
mod segment;
pub mod segments;
mod storage;
