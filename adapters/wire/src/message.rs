//! Messages ↔ frames. No sockets here: everything can be tested on bytes.
//!
//! Foreign bytes become one of the types below or a [`MessageError`] that says what was found
//! and what was expected; nothing panics and nothing is allocated from an unchecked length.

mod error;
mod from_adapter;
mod header;
mod protocol;
mod run;
mod to_adapter;
mod volume;

pub use self::{
    error::MessageError,
    from_adapter::{End, FromAdapter, Mark},
    header::{Encoding, decode, encode},
    protocol::{MAX_HEADER_BYTES, PROTOCOL},
    to_adapter::{Ack, DaemonPing, Durability, Ready, RefusalCode, Refused, ToAdapter},
    volume::{VolumeHeader, VolumeMessage},
};

#[cfg(test)]
mod tests;
