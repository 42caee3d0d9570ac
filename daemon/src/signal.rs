//! The signal room: what happens to a volume, from its turn in the run to its result.
//!
//! [`thread`] takes happenings off a ring and feeds the [`session`], which puts volumes in order
//! ([`resequence`]) and passes each through the [`path`]. [`lost_device`] decides
//! what happens when the model fails again and again.

pub(crate) mod checkpoint;
mod feedback;
pub mod happening;
mod in_model;
pub mod lost_device;
mod open_run;
pub mod path;
pub mod plausible;
pub mod quality;
mod reports;
pub mod resequence;
pub mod session;
pub(crate) mod stages;
mod stopwatch;
pub mod thread;
mod whole_volume;
