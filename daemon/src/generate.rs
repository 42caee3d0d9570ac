//! Clips: makes pictures from conditions, beside the signal path and never on it.
//!
//! ```text
//! signal thread ──conditions──► mailbox of one ──newest──► generator thread ──clip──► outputs
//!                                                     or ► workers elsewhere ─────────┘
//! ```
//!
//! The signal path never waits for a clip. Conditions that arrive while a clip is made replace the
//! waiting ones; every clip reports how many were replaced. A clip that fails does not affect the
//! next one. When ONNX Runtime itself fails (a lost device, full memory), the generator falls back
//! to blurry frames, once; decoding is not affected.

pub mod dispatch;
mod failures;
pub mod maker;
pub mod pace;
pub mod roster;
pub mod thread;
mod vet;

use self::maker::ClipMaker;
use crate::{
    config::GeneratorConfig,
    plan::{clips::ClipPlan, error::PlanError},
};

/// Where clips are made.
#[derive(Debug)]
pub enum Clips {
    /// In the daemon, on a thread of its own.
    Here(Box<ClipMaker>),
    /// By workers, which must have the same files.
    Elsewhere(Box<ClipPlan>),
}

impl Clips {
    /// Opens the networks, unless workers make the clips.
    ///
    /// # Errors
    ///
    /// Fails when [`ClipMaker::open`] does.
    pub fn open(plan: ClipPlan, config: &GeneratorConfig) -> Result<Self, PlanError> {
        if config.workers.is_some() {
            return Ok(Self::Elsewhere(Box::new(plan)));
        }
        let maker = ClipMaker::open(plan)?;
        if let Some(reason) = maker.fallback_reason() {
            tracing::info!(reason, "clips are made on the CPU");
        }
        Ok(Self::Here(Box::new(maker)))
    }
}
