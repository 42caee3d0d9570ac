//! The Corticast daemon: volumes in, feedback out, everything recorded.
//!
//! A message from a scanner adapter goes through [`ingest`] (what is it, was it here before),
//! is recorded ([`record`]) and acknowledged, and at the same time handed to the signal thread,
//! where [`session`] takes it through [`signal_path`] and hands products to the outputs.
//! [`replay`] feeds the same types from files.

pub mod cli;
pub mod clock;
pub mod config;
pub mod exit;
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
