//! Signs of life: how often one is sent, and after what silence a peer counts as gone.
//!
//! The same on both sides of a connection: a peer that waited less than the other sends would
//! count every idle peer as gone.

use std::time::Duration;

/// How often a sign of life is sent, by the protocols and by ZeroMQ itself.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// An adapter or daemon that sent nothing for this long counts as gone.
pub const SILENCE: Duration = Duration::from_secs(3);
/// A worker that sent nothing for this long counts as gone. Longer, because making a clip can
/// keep all its cores busy.
pub const WORKER_SILENCE: Duration = Duration::from_secs(8);
