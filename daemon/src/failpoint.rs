//! Faults for tests: a thread that panics, is slow or hangs, a disk with little room.
//!
//! `CORTICAST_FAULT` names one fault of the running program. Tests of the real binaries set it; it
//! is not meant for anything else.
//!
//! | fault | what happens |
//! |---|---|
//! | `panic:signal:40` | the signal thread panics at its 40th item |
//! | `sleep:signal:50` | the signal thread takes 50 ms longer for each item |
//! | `hold:signal:40` | it waits at its 40th item until the working folder has a file `release` |
//! | `free_bytes:1000000` | the disk of the recording has this much room |

use std::{
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The environment variable.
pub const VARIABLE: &str = "CORTICAST_FAULT";

/// The file that ends a `hold`.
const RELEASE: &str = "release";

/// The fault that the environment asks for.
struct Fault {
    /// `panic`, `sleep`, `hold` or `free_bytes`.
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

/// Fails here if the environment asks for it. Called once for each item that a thread takes.
///
/// # Panics
///
/// Panics for the item whose number the environment gives.
pub fn point(place: &str) {
    let Some(fault) = FAULT.as_ref().filter(|fault| fault.place == place) else { return };
    let is_due = fault.n_passed.fetch_add(1, Ordering::Relaxed) + 1 == fault.number;
    match fault.kind.as_str() {
        "panic" => assert!(!is_due, "{VARIABLE} asks the {place} thread to panic"),
        "sleep" => sleep(fault.number),
        "hold" if is_due => {
            while !Path::new(RELEASE).exists() {
                sleep(5);
            }
        }
        _ => {}
    }
}

#[allow(clippy::disallowed_methods, reason = "this fault is a fixed time")]
fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// The free bytes of the disk that the environment asks for.
#[must_use]
pub fn free_bytes() -> Option<u64> {
    let fault = FAULT.as_ref().filter(|fault| fault.kind == "free_bytes")?;
    Some(fault.number)
}
