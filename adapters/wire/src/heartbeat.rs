//! Heartbeats: how often they are sent, and after how long a silence a peer counts as gone.
//!
//! Both sides of a connection use the same values: with a timeout shorter than the other side's
//! interval, every idle peer would count as gone.

use std::time::Duration;

/// Interval of heartbeats, those of our protocols and those of ZeroMQ itself.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// An adapter or daemon that sent nothing for this long counts as gone.
pub const SILENCE: Duration = Duration::from_secs(3);
/// A worker that sent nothing for this long counts as gone. Longer, because making a clip can
/// keep all its cores busy.
pub const WORKER_SILENCE: Duration = Duration::from_secs(8);
