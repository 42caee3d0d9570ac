//! One target of [`targets`], chosen by `CORTICAST_FUZZ`, under libFuzzer. `scripts/fuzz.sh` runs
//! them all.
#![no_main]

mod seeds;
mod targets;

use std::{path::PathBuf, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

/// Finds the target, and writes its seeds into the folder that `CORTICAST_FUZZ_SEEDS` names.
fn start() {
    let name = std::env::var("CORTICAST_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let names = TARGETS.map(|(name, _)| name).join(", ");
    let (_, target) =
        found.unwrap_or_else(|| panic!("CORTICAST_FUZZ is {name:?}, expected one of {names}"));
    if let Some(folder) = std::env::var_os("CORTICAST_FUZZ_SEEDS").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("a folder for the seeds");
        for (n, seed) in seeds::of(&name).into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n}")), seed).expect("a file for a seed");
        }
    }
    TARGET.get_or_init(|| *target);
}

fuzz_target!(init: start(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(bytes);
    }
});
