//! The ZeroMQ protocols between scanner adapters, the daemon, its workers and its subscribers.
//!
//! # Adapter → daemon
//!
//! ROUTER (the daemon binds) ↔ DEALER (an adapter connects). A message is multipart:
//! `[type][header]` or `[type][header][voxels]`. The header is a MessagePack map with named
//! keys, or a JSON object; the daemon answers in the encoding of the request. Voxels are raw
//! little-endian bytes. [`message`] lists the types and their keys.
//!
//! The daemon answers `run` with `ready` or `refused`. It answers `vol` with `ack` once the volume
//! is in the recording (`ready` states how durable that is), or with `refused` when the volume can
//! never be used. After a reconnect the adapter sends unacknowledged messages again; duplicates
//! are harmless.
//!
//! # Daemon → subscribers and operators
//!
//! PUB (the daemon binds): `[topic][header]` or `[topic][header][payload]`, MessagePack. A `query`
//! ROUTER tells late joiners the current state, a `control` ROUTER takes an operator's commands.
//!
//! # Daemon ↔ workers
//!
//! ROUTER (the daemon binds) ↔ DEALER (a worker connects): conditions one way, clips the other
//! ([`work`]).
//!
//! # Trust
//!
//! Every field is checked before it is used. Sockets that other machines can reach require CURVE
//! and an allow-list of client keys ([`socket`]).

mod broadcast;
mod conversation;
mod error;
pub mod files;
pub mod heartbeat;
pub mod keys;
mod limits;
pub mod message;
mod pair;
mod raw;
pub mod socket;
pub mod text;
mod trust;
pub mod work;
mod zmq;
