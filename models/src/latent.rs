//! Latent pictures: what Stable Diffusion 1.5's picture coder makes of pixels.

/// Channels of a latent picture.
pub const CHANNELS: usize = 4;
/// Pixels along the edge of one latent value.
pub const PIXELS: usize = 8;
/// Factor that latents are multiplied by.
pub const SCALE: f32 = 0.18215;
