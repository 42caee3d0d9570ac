//! No bytes from outside make a reader fail in another way than by refusing them: the targets of
//! `fuzz/`, on their seeds, on every input that once was a finding, and on a fixed number of random
//! changes of the seeds. `make fuzz` searches on from there, for as long as it is told to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use corticast_tests::repository;

/// Changed inputs of each target.
const N_CHANGED: usize = 2000;

/// Marsaglia's xorshift, the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    /// Flips, cuts, copies or overwrites a few bytes.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.below(256) as u8),
                2 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
                3 => {
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].fill([0, 0xff, 0x7f][self.below(3)]);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
    }
}

fn findings(target: &str) -> Vec<Vec<u8>> {
    let Ok(folder) = std::fs::read_dir(repository("fuzz/findings").join(target)) else {
        return Vec::new();
    };
    folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn damaged_input_is_refused_and_nothing_panics() {
    for (name, target) in targets::TARGETS {
        let seeds = seeds::of(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let changed = (0..N_CHANGED).map(|n| {
            let mut bytes = seeds[n % seeds.len()].clone();
            random.change(&mut bytes);
            bytes
        });
        for bytes in findings(name).into_iter().chain(seeds.clone()).chain(changed) {
            let result = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            let shown = bytes.escape_ascii().to_string();
            let shown: String = shown.chars().take(2000).collect();
            assert!(result.is_ok(), "{name} panics at {shown}");
        }
    }
}

/// A seed that is refused at once would test nothing.
#[test]
fn the_seeds_are_valid() {
    for seed in seeds::of("dicom") {
        corticast_adapter::dicom::read_file(&seed).unwrap();
    }
    for seed in seeds::of("csa") {
        corticast_adapter::dicom::read_file(&seeds::with_csa(&seed)).unwrap();
    }
    for (target, file) in [("manifest", "manifest.toml"), ("video", "video.toml")] {
        for seed in seeds::of(target) {
            let folder = tempfile::tempdir().unwrap();
            for name in seeds::named_files() {
                std::fs::write(folder.path().join(name), "").unwrap();
            }
            std::fs::write(folder.path().join(file), seed).unwrap();
            let error = match target {
                "video" => corticast_models::manifest::video::VideoManifest::read(folder.path())
                    .err()
                    .map(|error| error.to_string()),
                _ => corticast_models::manifest::Manifest::read(folder.path())
                    .err()
                    .map(|error| error.to_string()),
            };
            assert_eq!(error, None, "{target}");
        }
    }
    let (entries, faults) =
        corticast::recording::reader::read_bytes(&seeds::of("recording")[0]).unwrap();
    assert!(faults.is_empty() && entries.len() == 7);
}
