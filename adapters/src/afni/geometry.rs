//! Where the voxels of an AFNI sender are.

use super::commands::{Commands, place};

/// Voxel sizes that differ by more than this, in mm, are named.
const TOLERANCE_MM: f64 = 0.01;

/// Voxel → RAS+ mm, rows: from the oblique matrix if there is one, else from axes, sizes and the
/// first voxel.
pub(super) fn affine(commands: &Commands) -> Result<[[f64; 4]; 4], String> {
    let sizes = sizes(commands);
    if let Some(lps) = commands.oblique {
        // DICOM's axes point to the left, posterior, superior.
        let mut affine = lps;
        affine[..2].iter_mut().for_each(|row| row.iter_mut().for_each(|value| *value = -*value));
        affine[3] = [0.0, 0.0, 0.0, 1.0];
        if let Ok(sizes) = sizes {
            let found: [f64; 3] = std::array::from_fn(|axis| {
                (0..3).map(|row| affine[row][axis].powi(2)).sum::<f64>().sqrt()
            });
            if found.iter().zip(sizes).any(|(a, b)| (a - b).abs() > TOLERANCE_MM) {
                tracing::warn!(
                    "OBLIQUE_XFORM has voxels of {found:.3?} mm, XYFOV of {sizes:.3?} mm: the \
                     first is used"
                );
            }
        }
        return Ok(affine);
    }
    let sizes = sizes?;
    let mut affine = [[0.0; 4]; 4];
    affine[3][3] = 1.0;
    for (axis, &(kind, towards_ras)) in commands.axes.iter().enumerate() {
        affine[kind][axis] = if towards_ras { sizes[axis] } else { -sizes[axis] };
    }
    let Some(first) = commands.first else {
        tracing::warn!("the sender does not say where the first voxel is: the scan is centred");
        for (axis, &(kind, _)) in commands.axes.iter().enumerate() {
            let steps = (commands.matrix[axis] - 1) as f64;
            affine[kind][3] = -affine[kind][axis] * steps / 2.0;
        }
        return Ok(affine);
    };
    let mut is_set = [false; 3];
    // The letter is the direction in which the number is positive, whatever XYZAXES says.
    for (mm, letter) in first {
        let (kind, is_ras) = place(letter).expect("checked when it was read");
        affine[kind][3] = if is_ras { mm } else { -mm };
        is_set[kind] = true;
    }
    if is_set != [true; 3] {
        return Err("found an XYZFIRST that names one direction twice, expected all three".into());
    }
    Ok(affine)
}

/// Voxel sizes along x, y, z in mm.
fn sizes(commands: &Commands) -> Result<[f64; 3], String> {
    let (x, y, z) = commands.fov_mm.ok_or("found no XYFOV, expected it among the commands")?;
    let [nx, ny, nz] = commands.matrix.map(|n| n as f64);
    let step = z
        .map(|z| z / nz)
        .or(commands.slice_step_mm)
        .ok_or("found no slice thickness, expected XYFOV x y z or ZDELTA among the commands")?;
    Ok([x / nx, y / ny, step])
}
