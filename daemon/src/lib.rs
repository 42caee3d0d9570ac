//! The Corticast daemon: volumes in, feedback out, everything recorded.
//!
//! The rooms, in the order in which a volume and its result pass through them:
//!
//! 1. [`intake`] decides on each message from a scanner adapter: new, a duplicate, or refused.
//! 2. [`recording`] writes accepted messages, and reports when each is safe to acknowledge.
//! 3. [`signal`] takes each volume through the signal path and the model to a result.
//! 4. [`product`] holds the types of published products.
//! 5. [`generate`] makes clips from results, beside the signal path.
//! 6. [`outputs`] delivers products: PUB socket, results file, films and pictures.
//!
//! [`service`] wires these together, [`offline`] runs the same code on files, and [`cli`] holds the
//! commands. [`plan`] checks that configuration, mask and model agree before anything starts.
//! Imports stay on a floor or go down: cli; service, offline; intake, recording, signal, outputs,
//! generate; plan; product, queue, metrics; config, clock, exit,
//! supervise, failpoint.

pub mod cli;
pub mod clock;
pub mod config;
pub mod exit;
pub mod failpoint;
pub mod generate;
pub mod intake;
pub mod metrics;
pub mod offline;
pub mod outputs;
pub mod plan;
pub mod product;
pub mod queue;
pub mod recording;
pub mod service;
pub mod signal;
pub mod supervise;
