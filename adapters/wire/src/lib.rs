//! What crosses ZeroMQ between scanner adapters, the daemon, its workers and its subscribers.
//!
//! # Adapter → daemon
//!
//! ROUTER (the daemon binds) ↔ DEALER (an adapter connects). A message is multipart:
//! `[type][header]` or `[type][header][voxels]`. The header is a MessagePack map with named
//! keys, or a JSON object; the daemon answers in the encoding it was spoken to. Voxels are raw
//! little-endian bytes. [`message`] lists the types and their keys.
//!
//! A `run` is answered `ready` or `refused`. A `vol` is answered `ack` once it is in the
//! recording (`ready` says how durable that is), or `refused` when it can never be used.
//! Messages that were not acknowledged are sent again after a reconnect; duplicates are harmless.
//!
//! # Daemon → the world
//!
//! PUB (the daemon binds): `[topic][header]` or `[topic][header][payload]`, MessagePack. A
//! `query` ROUTER answers for late joiners, a `control` ROUTER takes commands.
//!
//! # Daemon ↔ workers
//!
//! ROUTER (the daemon binds) ↔ DEALER (a worker connects): conditions one way, clips the other
//! ([`work`]).
//!
//! # Trust
//!
//! No field is used before it was checked. Sockets leave the machine only with CURVE and an
//! allow-list of client keys ([`socket`]).

mod broadcast;
mod conversation;
mod error;
pub mod heartbeat;
pub mod keys;
mod limits;
pub mod message;
mod raw;
pub mod socket;
pub mod text;
mod trust;
pub mod work;
mod zmq;
