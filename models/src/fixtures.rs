//! The models in `tests/data/models`, the shipped set of video networks, and edited copies of both.

use std::path::{Path, PathBuf};

use corticast_bold::{
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation, Window},
};
use ndarray::Array2;
use tempfile::TempDir;

/// The folder of a model in `tests/data/models`.
pub fn model(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/models").join(name)
}

/// A copy of `linear-3x4` with `from` replaced by `to` in its manifest.
pub fn edited(from: &str, to: &str) -> TempDir {
    edited_of("linear-3x4", from, to)
}

/// The shipped set of networks that make clips.
pub fn video() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("demo/video")
}

/// A copy of the shipped set with `from` replaced by `to` in its manifest, once.
pub fn edited_video(from: &str, to: &str) -> TempDir {
    edited_copy(&video(), "video.toml", from, to)
}

/// A copy of a model with `from` replaced by `to` in its manifest, once.
pub fn edited_of(name: &str, from: &str, to: &str) -> TempDir {
    edited_copy(&model(name), "manifest.toml", from, to)
}

fn edited_copy(of: &Path, manifest: &str, from: &str, to: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(of).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join(manifest);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in the manifest");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    folder
}

/// A window of one volume.
pub fn window(bold: &[f32]) -> Window {
    Window {
        tr: TrIndex(0),
        acquisition_time_s: 0.0,
        stimulus_time_s: 0.0,
        bold: Array2::from_shape_vec((1, bold.len()), bold.to_vec()).unwrap(),
        made_from: MadeFrom::Measured,
        interpolation: ShiftInterpolation::Nearest,
    }
}
