//! BOLD volumes, and the signal path that prepares them for a model.
//!
//! Everything here is pure: no clock, no I/O, no thread, no unseeded randomness. Time comes in
//! with the data. The daemon, `corticast replay` and `corticast prepare` run this same code, so
//! a model is trained on exactly the input that it gets online.
//!
//! A volume goes through the stages in the order of the modules below:
//! [`decode`], [`slice_timing`], [`realign`], [`smooth`], [`spatial_mask`], [`denoise`],
//! [`gap_fill`], [`normalise`], [`hemodynamic_shift`]. What a model makes of it, and regions of the
//! mask, become the participant's score in [`feedback`].

pub mod decode;
pub mod denoise;
pub mod feedback;
pub mod gap_fill;
pub mod hemodynamic_shift;
pub mod normalise;
pub mod quality;
pub mod realign;
pub mod run;
mod separable;
pub mod settings;
pub mod slice_timing;
pub mod smooth;
pub mod space;
pub mod spatial_mask;
pub mod stage;
pub mod state;
pub mod time;
pub mod training_statistics;
pub mod turn;
pub mod volume;
pub mod welford;
