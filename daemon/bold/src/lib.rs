//! BOLD volumes, and the signal path that prepares them for a model.
//!
//! Everything here is pure: no clock, no I/O, no thread, no unseeded randomness. Time comes in
//! with the data. The daemon, `corticast replay` and `corticast prepare` run this same code, so
//! a model is trained on exactly the input that it gets online.
//!
//! A volume goes through the stages in the order of the modules below:
//! [`decode`], [`realign`], [`smooth`], [`spatial_mask`], [`gap_fill`], [`normalise`], [`hemodynamic_shift`].

pub mod decode;
pub mod gap_fill;
pub mod hemodynamic_shift;
pub mod normalise;
pub mod quality;
pub mod realign;
pub mod run;
mod separable;
pub mod smooth;
pub mod space;
pub mod spatial_mask;
pub mod stage;
pub mod state;
pub mod time;
pub mod training_statistics;
pub mod volume;
pub mod welford;
