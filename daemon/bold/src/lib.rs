//! What a BOLD volume is, and what happens to it before a model sees it.
//!
//! Everything here is pure: no clock, no I/O, no thread, no unseeded randomness. Time comes in
//! with the data. The daemon, `corticast replay` and `corticast prepare` run this same code, so
//! a model is only ever trained on what it gets online.
//!
//! A volume goes through the stages in the order of the modules below:
//! [`decode`], [`spatial_mask`], [`gap_fill`], [`normalise`], [`hemodynamic_shift`].

pub mod decode;
pub mod gap_fill;
pub mod hemodynamic_shift;
pub mod normalise;
pub mod quality;
pub mod run;
pub mod space;
pub mod spatial_mask;
pub mod stage;
pub mod time;
pub mod training_statistics;
pub mod volume;
pub mod welford;
