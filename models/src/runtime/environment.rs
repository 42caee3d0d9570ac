//! Loads ONNX Runtime's library, once a process, before anything else of `ort` is used: its own
//! search for the library panics if it finds none.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
};

use ort::{environment::Environment, logging::LogLevel};

use super::library::{RuntimeError, RuntimeInfo, find_library};

/// The library, kept for the life of the process: ONNX Runtime cannot be initialised twice.
static LOADED: Mutex<Option<(Environment, RuntimeInfo)>> = Mutex::new(None);

/// Loads ONNX Runtime unless it is loaded already, and returns its path and version.
///
/// # Errors
///
/// Fails when there is no library or it cannot be used. Calling again is safe.
pub fn load_runtime() -> Result<RuntimeInfo, RuntimeError> {
    environment().map(|(_, info)| info)
}

/// The environment that every network is opened in.
pub(super) fn environment() -> Result<(Environment, RuntimeInfo), RuntimeError> {
    // The value is set in one step, so a panic of another thread cannot leave it half done.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*loaded {
        return Ok(loaded.clone());
    }
    let path = find_library()?;
    let unusable = |reason: String| RuntimeError::Unusable { path: path.clone(), reason };
    let environment = ort::init_from(&path)
        .map_err(|error| unusable(why_not_loaded(&error)))?
        .with_name("corticast")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    // `ort` asks ONNX Runtime for every message and lets `tracing` drop most of them, each run.
    environment.set_log_level(LogLevel::Warning);
    let minor = ort::util::probe(&path).unwrap_or(ort::MINOR_VERSION);
    let info = RuntimeInfo { version: format!("1.{minor}"), build: ort::info().to_owned(), path };
    tracing::info!(version = info.version, path = %info.path.display(), "ONNX Runtime loaded");
    Ok(loaded.insert((environment, info)).clone())
}

/// The message of the system's loader, e.g. a missing version of the C library; `ort` leaves it
/// out.
fn why_not_loaded(error: &ort::LoadDynamicError) -> String {
    let cause = match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.source(),
        _ => None,
    };
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_says_which_version_it_is() {
        // Without `make runtime` this fails with the message that says so.
        let info = load_runtime().unwrap_or_else(|error| panic!("{error}"));
        let minor: u32 = info.version.strip_prefix("1.").unwrap().parse().unwrap();
        assert!(minor >= ort::MINOR_VERSION, "{info}");
        assert_eq!(load_runtime().unwrap(), info);
    }
}
