//! Quality control: what shows the operator, while the run goes on, whether its data can be used.
//!
//! - [`Dvars`]: how much the whole image changed since the previous volume.
//! - [`Displacement`]: how far the head moved since the previous volume.
//! - [`Tsnr`]: signal over noise of each voxel so far.
//! - [`SpikeThresholds`]: which volumes changed or moved too much.
//!
//! A measure never changes a volume. After a gap there is no previous volume, and what needs one
//! is `None`, not 0.

mod displacement;
mod dvars;
mod spikes;
mod tsnr;

pub use self::{
    displacement::{Displacement, SPHERE_MM, centre_mm, translation_about},
    dvars::Dvars,
    spikes::{InvalidThreshold, Spike, SpikeThresholds},
    tsnr::Tsnr,
};
