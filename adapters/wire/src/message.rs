//! Messages ↔ frames. This module has no sockets, so everything can be tested on bytes.
//!
//! Foreign bytes become one of the types below or a [`MessageError`] that states what was found
//! and what was expected. Parsing never panics, and never allocates from an unchecked length.

mod error;
mod from_adapter;
mod header;
mod protocol;
mod run;
mod to_adapter;
mod volume;

pub use self::{
    error::MessageError,
    from_adapter::{End, FromAdapter, Mark, TriggerCounts},
    header::{Encoding, decode, encode},
    protocol::{MAX_HEADER_BYTES, MAX_VOLUMES, PROTOCOL},
    to_adapter::{Ack, DaemonPing, Durability, Ready, RefusalCode, Refused, ToAdapter},
    volume::{VolumeHeader, VolumeMessage},
};

#[cfg(test)]
mod tests;
