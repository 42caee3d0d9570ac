//! `corticast motion` writes the motion of a run in the columns and signs that it promises.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{fs, path::PathBuf};

use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};
use corticast_images::nifti::{format::NiftiFormat, write::NiftiWriter};
use corticast_tests::{Site, corticast};

const MATRIX: [usize; 3] = [24, 24, 16];
const VOXEL_MM: f64 = 3.0;

/// A lopsided head whose middle is moved by so many voxels along x, y, z. x fastest.
fn head(moved: [f64; 3]) -> Vec<u8> {
    let [nx, ny, nz] = MATRIX;
    let mut voxels = Vec::new();
    for index in 0..nx * ny * nz {
        let at = [index % nx, index / nx % ny, index / (nx * ny)];
        let [x, y, z] = [0, 1, 2].map(|k| at[k] as f64 - MATRIX[k] as f64 / 2.0 - moved[k]);
        let radius = (x / 8.0).powi(2) + (y / 9.0).powi(2) + (z / 5.5).powi(2);
        let inside = 1.0 / (1.0 + (8.0 * (radius - 1.0)).exp());
        let texture = 1.0 + 0.3 * (0.9 * x).sin() * (0.7 * y + 0.4).cos() * (0.8 * z).cos();
        voxels.extend(((900.0 * inside * texture + 20.0) as i16).to_le_bytes());
    }
    voxels
}

/// A file of volumes in the site's folder.
fn written(site: &Site, name: &str, volumes: &[Vec<u8>]) -> PathBuf {
    let mut affine = [[0.0; 4]; 4];
    for (axis, row) in affine.iter_mut().enumerate().take(3) {
        (row[axis], row[3]) = (VOXEL_MM, -VOXEL_MM * MATRIX[axis] as f64 / 2.0);
    }
    affine[3][3] = 1.0;
    let format = NiftiFormat {
        space: VoxelSpace::new(MATRIX, affine).unwrap(),
        repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
        dtype: Dtype::Int16,
        slope: None,
        intercept: None,
    };
    let bold = site.path(name);
    let mut file = NiftiWriter::create(&bold, format).unwrap();
    volumes.iter().for_each(|volume| file.write(volume).unwrap());
    file.finish().unwrap();
    bold
}

#[test]
fn a_moved_head_has_the_motion_that_takes_it_back() {
    let site = Site::new(3);
    // One voxel to the right, then half a voxel to the back and up.
    let moved_voxels = [[0.0; 3], [1.0, 0.0, 0.0], [0.0, -0.5, 0.5]];
    let bold = written(&site, "moved.nii", &moved_voxels.map(head));

    let table = site.path("motion.tsv");
    let command = ["motion", bold.to_str().unwrap(), "--out", table.to_str().unwrap()];
    let said = corticast(&site, command).expect(0, &[]).output;
    assert!(said.contains("3 volumes, 0 without a converged estimate; median "), "{said}");
    let text = fs::read_to_string(table).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), "trans_x\ttrans_y\ttrans_z\trot_x\trot_y\trot_z");
    let rows: Vec<Vec<f64>> =
        lines.map(|line| line.split('\t').map(|cell| cell.parse().unwrap()).collect()).collect();
    assert_eq!(rows.len(), 3);
    for (row, moved) in rows.iter().zip(moved_voxels) {
        for axis in 0..3 {
            let expected_mm = -VOXEL_MM * moved[axis];
            assert!((row[axis] - expected_mm).abs() < 0.05, "{row:?}, expected {expected_mm}");
            assert!(row[3 + axis].abs() < 2e-3, "{row:?}");
        }
    }
}

#[test]
fn volumes_without_an_estimate_are_counted_and_a_run_of_them_fails() {
    let site = Site::new(3);
    let (head, nothing) = (head([0.0; 3]), vec![0; 2 * MATRIX.iter().product::<usize>()]);
    let bold = written(&site, "zero.nii", &[nothing.clone(), nothing.clone()]);
    let command = ["motion", bold.to_str().unwrap(), "--out", "zero.tsv"];
    let failed = corticast(&site, command).expect(1, &["has an estimate", "n/a"]);
    assert!(failed.output.contains("2 volumes, 2 without a converged"), "{}", failed.output);
    let bold = written(&site, "one.nii", &[head.clone(), nothing, head]);
    let command = ["motion", bold.to_str().unwrap(), "--out", "one.tsv"];
    let said = corticast(&site, command).expect(0, &[]).output;
    assert!(said.contains("3 volumes, 1 without a converged estimate"), "{said}");
}
