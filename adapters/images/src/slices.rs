//! The slice times of an image: `SliceTiming` and `SliceEncodingDirection` of its sidecar (BIDS).

use std::path::Path;

use corticast_bold::{run::SliceTimes, settings::Axis};
use serde_json::Value;

use crate::{beside::inherited, error::AdapterError, nifti::header::NiftiHeader, text};

/// Largest sidecar that is read.
const MAX_SIDECAR_BYTES: u64 = 16 << 20;

/// When the slices of an image are acquired, by the closest sidecar that says it. Times that do not
/// fit the image are left out with a warning.
///
/// # Errors
///
/// Fails when a sidecar cannot be read.
pub(crate) fn slice_times(
    image: &Path,
    header: &NiftiHeader,
) -> Result<Option<SliceTimes>, AdapterError> {
    for path in inherited(image, "bold.json")?.into_iter().flatten() {
        let malformed = |reason| AdapterError::Malformed { path: path.clone(), reason };
        let text = text::read(&path, MAX_SIDECAR_BYTES)?;
        let sidecar: Value = text::json(&text).map_err(malformed)?;
        let Some((times_s, axis)) = of_sidecar(&sidecar) else { continue };
        let (n, matrix) = (times_s.len(), header.space.matrix());
        let found = SliceTimes::checked(times_s, axis, matrix);
        if found.is_none() {
            tracing::warn!(
                "SliceTiming of the sidecar has {n} times that do not fit the {} slices of the image \
                 along {}, expected one in seconds for each: left out",
                matrix[axis.position()],
                axis.name()
            );
        }
        return Ok(found);
    }
    Ok(None)
}

/// The times in the order of the voxels, and their axis. With a direction that ends in `-` the
/// first time is that of the last slice.
fn of_sidecar(sidecar: &Value) -> Option<(Vec<f64>, Axis)> {
    let times = sidecar.get("SliceTiming")?.as_array()?;
    let mut times: Vec<f64> = times.iter().map(Value::as_f64).collect::<Option<_>>()?;
    let direction = sidecar.get("SliceEncodingDirection").and_then(Value::as_str).unwrap_or("k");
    let axis = match direction.trim_end_matches('-') {
        "i" => Axis::X,
        "j" => Axis::Y,
        _ => Axis::Z,
    };
    if direction.ends_with('-') {
        times.reverse();
    }
    (!times.is_empty()).then_some((times, axis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_voxels_whatever_the_direction() {
        let read = |text: &str| of_sidecar(&serde_json::from_str(text).unwrap());
        let times = |direction: &str| {
            read(&format!(r#"{{"SliceTiming": [0, 0.5, 0.2]{direction}}}"#)).unwrap()
        };
        assert_eq!(times(""), (vec![0.0, 0.5, 0.2], Axis::Z));
        assert_eq!(times(r#", "SliceEncodingDirection": "j""#), (vec![0.0, 0.5, 0.2], Axis::Y));
        assert_eq!(times(r#", "SliceEncodingDirection": "k-""#), (vec![0.2, 0.5, 0.0], Axis::Z));
        for none in ["{}", r#"{"SliceTiming": []}"#, r#"{"SliceTiming": ["a"]}"#] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
