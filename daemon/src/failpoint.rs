//! Faults for tests: a thread that panics, a disk with little room.
//!
//! `CORTICAST_FAULT` names one fault of the running program, for example `panic:signal:40` (the
//! signal thread panics at its 40th item) or `free_bytes:1000000`. Tests of the real binaries set
//! it; it is not meant for anything else.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

/// The environment variable.
pub const VARIABLE: &str = "CORTICAST_FAULT";

/// The fault that the environment asks for.
struct Fault {
    /// `panic` or `free_bytes`.
    kind: String,
    /// Where: the name of a thread or task.
    place: String,
    /// When, or how much.
    number: u64,
    n_passed: AtomicU64,
}

static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok()?;
    let (kind, rest) = text.split_once(':')?;
    let (place, number) = rest.split_once(':').unwrap_or(("", rest));
    let number = number.parse().ok()?;
    tracing::warn!("{VARIABLE}={text}: this program fails on purpose");
    let (kind, place) = (kind.to_owned(), place.to_owned());
    Some(Fault { kind, place, number, n_passed: AtomicU64::new(0) })
});

/// Panics here if the environment asks for it. Called once for each item that a thread takes.
///
/// # Panics
///
/// Panics for the item whose number the environment gives.
pub fn point(place: &str) {
    if let Some(fault) = &*FAULT
        && fault.kind == "panic"
        && fault.place == place
    {
        let passed = fault.n_passed.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(passed != fault.number, "{VARIABLE} asks the {place} thread to panic");
    }
}

/// The free bytes of the disk that the environment asks for.
#[must_use]
pub fn free_bytes() -> Option<u64> {
    let fault = FAULT.as_ref().filter(|fault| fault.kind == "free_bytes")?;
    Some(fault.number)
}
