//! Writes the files of prepared runs.

use std::{collections::HashMap, path::Path};

use corticast_bold::normalise::Statistics;
use corticast_images::events;
use safetensors::{Dtype, tensor::TensorView};

use super::{
    error::{PrepareError, failed},
    play::{Collected, Played},
};

/// Name of the frozen statistics beside the run folders.
pub(super) const STATISTICS: &str = "normalise.safetensors";

/// Writes the events of the source with all their columns, or else the marks of the run.
pub(super) fn write_events(path: &Path, played: &Played) -> Result<(), PrepareError> {
    if let Some(events) = &played.events {
        // Every column is kept: a model's classes may be in any of them.
        let table = events::table(events).map_err(|error| PrepareError::Replay(error.into()))?;
        return std::fs::write(path, table).map_err(|error| failed(path, &error));
    }
    if played.marks.is_empty() {
        tracing::warn!(run = played.run, "no events or marks: this run cannot be trained on");
        return Ok(());
    }
    let mut text = "onset\tduration\ttrial_type\n".to_owned();
    for mark in &played.marks {
        let duration_s = mark.value.unwrap_or(0.0);
        text += &format!("{}\t{duration_s}\t{}\n", mark.time_s, mark.name);
    }
    std::fs::write(path, text).map_err(|error| failed(path, &error))
}

pub(super) fn describe(played: &Played, effective: &toml::Table, config: &str) -> String {
    use toml::Value;
    let mut facts = toml::Table::new();
    facts.insert("format".to_owned(), Value::Integer(1));
    facts.insert("run".to_owned(), Value::String(played.run.clone()));
    facts.insert("bold".to_owned(), Value::String(played.bold.clone()));
    facts.extend(effective.clone());
    if let Some(Value::Table(signal)) = facts.get_mut("signal") {
        signal.insert("repetition_time_s".to_owned(), Value::Float(played.repetition_time_s));
    }
    if let Some(Value::Table(normalise)) = facts.get_mut("normalise")
        && normalise.get("mode").and_then(Value::as_str) == Some("frozen")
    {
        let path = format!("../{STATISTICS}");
        normalise.insert("statistics".to_owned(), Value::String(path));
    }
    let config = toml::from_str(config).expect("it was just written");
    facts.insert("config".to_owned(), Value::Table(config));
    toml::to_string(&facts).expect("facts are tables of plain values")
}

pub(super) fn write_windows(
    path: &Path,
    collected: &Collected,
    [n_tr, n_voxel]: [usize; 2],
) -> Result<(), PrepareError> {
    let n = collected.index.len();
    let windows = bytes_of(&collected.windows, f32::to_le_bytes);
    let times = bytes_of(&collected.stimulus_time_s, f64::to_le_bytes);
    let index = bytes_of(&collected.index, i64::to_le_bytes);
    write_tensors(
        path,
        &[
            ("windows", Dtype::F32, vec![n, n_tr, n_voxel], &windows),
            ("stimulus_time_s", Dtype::F64, vec![n], &times),
            ("index", Dtype::I64, vec![n], &index),
        ],
    )
}

pub(super) fn write_statistics(path: &Path, statistics: &Statistics) -> Result<(), PrepareError> {
    let mean = bytes_of(&statistics.mean.to_vec(), f32::to_le_bytes);
    let sd = bytes_of(&statistics.sd.to_vec(), f32::to_le_bytes);
    let shape = vec![statistics.mean.len()];
    let tensors = [("mean", Dtype::F32, shape.clone(), &mean), ("sd", Dtype::F32, shape, &sd)];
    write_tensors(path, &tensors)
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn write_tensors(
    path: &Path,
    tensors: &[(&str, Dtype, Vec<usize>, &Vec<u8>)],
) -> Result<(), PrepareError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut views = HashMap::new();
    for (name, dtype, shape, bytes) in tensors {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        views.insert(*name, view.map_err(|error| failed(path, &error))?);
    }
    safetensors::serialize_to_file(views, None, path).map_err(|error| failed(path, &error))
}
