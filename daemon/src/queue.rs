//! The bounded queues between threads. Each says what happens when it is full.
//!
//! | queue | between | when full |
//! |---|---|---|
//! | [`drop_oldest`] | the session and one output | the oldest item is dropped and counted |
//! | [`latest`] | the session and the generator | the waiting item is replaced and counted |
//! | [`ring`] | the receive task and the signal thread | the writer waits; nothing is lost |

pub mod drop_oldest;
#[cfg(test)]
mod interleave;
pub mod latest;
pub mod ring;
mod steps;
