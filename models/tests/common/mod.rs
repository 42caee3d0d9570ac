//! The reference implementation's manifest and tensors, and how results are compared with them.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses some; a test fails by panicking")]

pub mod pipeline;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use corticast_models::{
    generator::scheduler::Step,
    manifest::{Dim, ElementType, NetworkFacts, Role, TensorFacts, video::Training},
    runtime::OnnxRuntime,
};
use safetensors::SafeTensors;
use serde_json::Value;

/// The folder of the reference.
pub fn folder() -> PathBuf {
    match std::env::var_os("CORTICAST_REFERENCE") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/reference"),
    }
}

/// The manifest of the reference.
pub fn manifest() -> Value {
    let path = folder().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The CPU, on which the reference was made.
pub fn on_cpu() -> OnnxRuntime {
    OnnxRuntime::on_cpu()
}

/// A whole number of the manifest.
pub fn number(of: &Value, key: &str) -> usize {
    of[key].as_u64().unwrap_or_else(|| panic!("{key} is {}", of[key])) as usize
}

/// A file that the manifest names.
pub fn file(of: &Value, key: &str) -> PathBuf {
    folder().join(of[key].as_str().unwrap_or_else(|| panic!("{key} is {}", of[key])))
}

/// A tensor of a file.
pub fn f32s(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
    view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A tensor of a file.
pub fn f64s(tensors: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
    view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

/// A tensor of a file.
pub fn i64s(tensors: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::I64, "{name}");
    view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// Prints the distance of two tensors, and fails if it exceeds the tolerance.
pub fn compare(case: &str, found: &[f32], expected: &[f32], tolerance: &Value) {
    let tolerance = tolerance.as_f64().unwrap();
    let error = apart(found, expected);
    let verdict = if error <= tolerance { "pass" } else { "FAIL" };
    println!("{case:<40} {error:.3e}  {tolerance:.0e}  {verdict}");
    assert!(error <= tolerance, "{case}: {error} is more than {tolerance}");
}

/// A network as a manifest would describe it.
pub fn network(
    role: Role,
    path: PathBuf,
    inputs: Vec<TensorFacts>,
    outputs: Vec<TensorFacts>,
) -> NetworkFacts {
    let (sha256, external, classes) = (String::new(), Vec::new(), Vec::new());
    NetworkFacts { role, path, sha256, external, inputs, outputs, classes }
}

/// A tensor of ids.
pub fn ids(name: &str, shape: &[Dim]) -> TensorFacts {
    TensorFacts { name: name.into(), shape: shape.into(), dtype: ElementType::I64 }
}

/// A tensor of a file.
pub fn u8s(tensors: &SafeTensors<'_>, name: &str) -> Vec<u8> {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::U8, "{name}");
    view.data().to_vec()
}

/// The largest difference of two tensors; infinite if a value is NaN or the lengths differ.
pub fn apart(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let apart = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
    let number = |error: f64| if error.is_nan() { f64::INFINITY } else { error };
    found.iter().zip(expected).map(apart).map(number).fold(0.0, f64::max)
}

/// The largest value, of either sign.
pub fn largest(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max)
}

/// A number of the manifest.
pub fn real(of: &Value, key: &str) -> f64 {
    of[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", of[key]))
}

/// The training of a scheduler in the manifest.
pub fn training(scheduler: &Value) -> Training {
    assert_eq!(scheduler["beta_schedule"], "linear", "the only one there is");
    assert_eq!(scheduler["clip_sample"], false, "the only way there is");
    Training {
        timesteps: number(scheduler, "num_train_timesteps"),
        first_beta: real(scheduler, "beta_start"),
        last_beta: real(scheduler, "beta_end"),
        steps_offset: number(scheduler, "steps_offset"),
        ..Training::default()
    }
}

/// The timesteps of a plan.
pub fn timesteps(plan: &[Step]) -> Vec<i64> {
    plan.iter().map(|step| step.timestep as i64).collect()
}

/// Whole numbers of the manifest.
pub fn listed(of: &Value) -> Vec<i64> {
    of.as_array().unwrap().iter().map(|t| t.as_i64().unwrap()).collect()
}

/// The comparisons of one case. The one nearest to its tolerance, or furthest beyond it, is
/// printed.
pub struct Case {
    name: String,
    compared: Vec<(String, f64, f64)>,
}

impl Case {
    /// A case without comparisons.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), compared: Vec::new() }
    }

    /// Adds a distance from the reference, and its tolerance.
    pub fn add(&mut self, what: impl Into<String>, error: f64, tolerance: f64) {
        self.compared.push((what.into(), error, tolerance));
    }

    /// Adds a condition that must hold.
    pub fn require(&mut self, what: impl Into<String>, holds: bool) {
        self.add(what, if holds { 0.0 } else { f64::INFINITY }, 0.0);
    }

    /// Prints the case's line. Returns whether anything was compared and all of it was within its
    /// tolerance.
    pub fn close(self) -> bool {
        let share = |(_, error, tolerance): &(String, f64, f64)| {
            if *error > 0.0 { error / tolerance } else { 0.0 }
        };
        let worst = self.compared.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
        let Some((what, error, tolerance)) = worst else {
            println!("{:<40} nothing was compared  FAIL", self.name);
            return false;
        };
        let all = self.compared.iter().all(|(_, error, tolerance)| error <= tolerance);
        let verdict = if all { "pass" } else { "FAIL" };
        println!("{:<40} {error:.3e}  {tolerance:.0e}  {verdict}  ({what})", self.name);
        all
    }
}

/// Runs a case and prints its line. Returns whether all of it was within its tolerance; a case
/// that panics has failed.
pub fn run(name: &str, compare: impl FnOnce(&mut Case)) -> bool {
    let mut case = Case::new(name);
    let ran = catch_unwind(AssertUnwindSafe(|| compare(&mut case))).is_ok();
    case.require("it ran to its end", ran);
    case.close()
}
