//! Real exports, and small ones made here for each way in which an export can go wrong.

use std::{fs, path::Path, sync::atomic::Ordering, thread};

use corticast_bold::{decode::Dtype, run::RunHeader};
use corticast_images::acquired::AcquiredVolume;

use super::*;
use crate::adapter::{ScannerAdapter as _, contract, real_data};

fn options(folder: &Path) -> ParRecOptions {
    ParRecOptions {
        folder: folder.to_owned(),
        run: RunOptions::default(),
        image_type: None,
        echo: 1,
        scaling: Scaling::Display,
        deadline_s: Duration::from_millis(50),
        poll_ms: 10,
        once: true,
    }
}

/// Signal in single precision, summed in double.
fn sum(volume: &AcquiredVolume) -> f64 {
    match volume.dtype {
        Dtype::Float32 => {
            volume.voxels.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).sum()
        }
        _ => {
            let (slope, intercept) = (volume.slope.unwrap(), volume.intercept.unwrap());
            let values = volume.voxels.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
            values.map(|value| slope * f64::from(value) + intercept).sum()
        }
    }
}

fn read(options: ParRecOptions) -> Vec<(RunHeader, Vec<AcquiredVolume>)> {
    contract::holds(&mut open(options).unwrap())
}

/// The expected sums and affine are nibabel's (5.4.2).
#[test]
fn real_exports_read_as_nibabel_reads_them() {
    let Some(data) = real_data() else { return };
    let runs = read(options(&data.join("philips_enhanced")));
    assert_eq!(runs.len(), 2, "each pair with dynamics is a run");
    let affine = [
        [-1.9107728267519197, 0.01820925649369923, 0.425794337470573, 90.81718650658215],
        [-0.0181982283169751, -1.911913288555409, 0.004086344014238848, 95.02601636839509],
        [0.06603051591953867, 4.815290657203419e-06, 12.322645109065284, -35.903298573596516],
        [0.0, 0.0, 0.0, 1.0],
    ];
    let sums = [[28_966_218.021_1, 29_120_867.870_3], [28_050_076.340_19, 28_117_712.542_77]];
    for ((header, volumes), sums) in runs.iter().zip(sums) {
        assert_eq!(header.space.matrix(), [80, 80, 10]);
        assert!((header.repetition_time.as_secs() - 2.0).abs() < 1e-9);
        for (found, expected) in header.space.affine().iter().flatten().zip(affine.iter().flatten())
        {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        assert_eq!(volumes.len(), 2);
        for (volume, expected) in volumes.iter().zip(sums) {
            assert!((sum(volume) / expected - 1.0).abs() < 1e-9, "{} {expected}", sum(volume));
        }
        assert_eq!(volumes[1].acquisition_time_s, Some(2.0));
    }
    let scaling = Scaling::True;
    let runs = read(ParRecOptions { scaling, ..options(&data.join("philips_enhanced")) });
    assert!(runs[0].0.source.contains("true values"));
    assert!((sum(&runs[0].1[0]) / 97_653_829.877_27 - 1.0).abs() < 1e-9);
}

/// Two types of images in each file; the header says a TR of 1 ms.
#[test]
fn a_real_export_of_one_pair_a_volume_is_one_run() {
    let Some(data) = real_data() else { return };
    let runs = read(options(&data.join("philips_parrec")));
    let (header, volumes) = &runs[0];
    assert_eq!((runs.len(), volumes.len(), header.space.matrix()), (1, 4, [80, 80, 15]));
    assert!((header.repetition_time.as_secs() - 1.0).abs() < 1e-9, "the dynamics are 1 s apart");
    let sums = [30_536_771.029_5, 30_090_302.531_9, 29_853_670.903_3, 29_816_092.446_9];
    for (volume, expected) in volumes.iter().zip(sums) {
        assert_eq!(volume.dtype, Dtype::Float32, "each slice has its own scaling");
        assert!((sum(volume) / expected - 1.0).abs() < 1e-7, "{} {expected}", sum(volume));
    }
    // The middle of slice k is where its line says, to its rounding: AP -15.8, FH 14.3 + 4 k, RL 1.7 - 0.09 k.
    for (slice, [posterior, head, left]) in [(0.0, [-15.8, 14.3, 1.7]), (14.0, [-15.8, 70.2, 0.4])]
    {
        let found = header.space.position_mm([39.5, 39.5, slice]);
        for (found, expected) in found.iter().zip([-left, -posterior, head]) {
            assert!((found - expected).abs() < 0.1, "{found} {expected}");
        }
    }
    let phase =
        read(ParRecOptions { image_type: Some(17), ..options(&data.join("philips_parrec")) });
    assert!((sum(&phase[0].1[0]) / -5_018_247.41 - 1.0).abs() < 1e-6);
}

/// A pair of 2 x 1 pixels and two slices. `edit` changes the text of the PAR.
fn pair(folder: &Path, name: &str, dynamic: usize, edit: impl Fn(String) -> String) {
    let mut par = String::from(
        "# CLINICAL TRYOUT             Research image export tool     V4.2\n.    Repetition time \
         [ms]               :   1500.0\n\n",
    );
    for slice in 1..=2 {
        par += &format!(
            "{slice} 1 {dynamic} 1 0 2 {} 16 100 2 1 0 1 1 0 0 0 0 0 0 {}.0 0 3 0 0 1 0 2 3 3 30 \
             {} 0\n",
            slice - 1,
            3 * slice,
            1.5 * (dynamic as f64 - 1.0),
        );
    }
    par += "# === END OF DATA DESCRIPTION FILE ===\n";
    fs::write(folder.join(format!("{name}.REC")), [dynamic as u8, 0, 2, 0, 3, 0, 4, 0]).unwrap();
    fs::write(folder.join(format!("{name}.PAR")), edit(par)).unwrap();
}

#[test]
fn damaged_and_foreign_pairs_are_refused_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    (1..=9).for_each(|n| pair(path, &format!("Dump-000{n}"), n, |par| par));
    pair(path, "Dump-0002", 2, |par| par.replace("END OF", "IN THE"));
    pair(path, "Dump-0003", 3, |par| par.replace("V4.2", "V3"));
    pair(path, "Dump-0004", 4, |par| par.replace(" 16 100", " 12 100"));
    pair(path, "Dump-0005", 5, |par| par.replace("2 1 5", "1 1 5"));
    pair(path, "Dump-0006", 6, |par| par.replace(" 2 1 0 1 1 ", " 99999 1 0 1 1 "));
    pair(path, "Dump-0007", 7, |par| par.replace(" 0 1 1 0 0", " nan 1 1 0 0"));
    fs::write(path.join("Dump-0008.REC"), [0; 7]).unwrap();
    fs::remove_file(path.join("Dump-0009.REC")).unwrap();
    fs::write(path.join("other.PAR"), "no PAR\nEND OF DATA DESCRIPTION FILE").unwrap();
    pair(path, "Dump-0010", 10, |par| par);
    let mut adapter = open(options(path)).unwrap();
    let refused = adapter.refused().unwrap();
    let runs = contract::holds(&mut adapter);
    let indices: Vec<u32> = runs[0].1.iter().map(|volume| volume.index.0).collect();
    assert_eq!((runs.len(), indices), (1, vec![0, 9]));
    assert_eq!(refused.load(Ordering::Relaxed), 9);
    assert_eq!(runs[0].0.repetition_time.as_secs().to_string(), "1.5");
}

#[test]
fn a_volume_of_another_shape_is_refused_and_a_name_that_comes_again_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    pair(path, "Dump-0000", 1, |par| par);
    pair(path, "Dump-0001", 2, |par| par.replace(" 2 1 0 1 1 ", " 1 1 0 1 1 "));
    let mut adapter = open(ParRecOptions { once: false, ..options(path) }).unwrap();
    assert_eq!(adapter.start_run().unwrap().unwrap().run_id(), "sub-x_run-1");
    assert_eq!(adapter.next_volume().unwrap().unwrap().index.0, 0);
    let refused = adapter.refused().unwrap();
    let folder_path = path.to_owned();
    let writer = thread::spawn(move || {
        while refused.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        // The same pair again, then a new scan under the old name.
        pair(&folder_path, "Dump-0000", 1, |par| par);
        pair(&folder_path, "Dump-0000", 3, |par| par);
    });
    assert_eq!(adapter.next_volume().unwrap(), None);
    assert_eq!(adapter.start_run().unwrap().unwrap().run_id(), "sub-x_run-2");
    writer.join().unwrap();
}

#[test]
fn a_repetition_time_that_none_says_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    pair(folder.path(), "Dump-0000", 1, |par| par.replace("1500.0", "1"));
    let mut adapter = open(options(folder.path())).unwrap();
    assert!(adapter.start_run().unwrap().is_none());
    assert_eq!(adapter.refused().unwrap().load(Ordering::Relaxed), 1);
    let run = RunOptions { tr: Some(2.0), ..RunOptions::default() };
    let runs = read(ParRecOptions { run, ..options(folder.path()) });
    assert_eq!(runs[0].0.repetition_time.as_secs().to_string(), "2");
}

#[test]
fn slices_stored_against_the_usual_direction_keep_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let mirrored =
        |par: String| par.replace(" 3.0 0 3 0 0", " @ 0 3 0 0").replace(" 6.0 0 3", " 3.0 0 3");
    pair(folder.path(), "Dump-0000", 1, |par| mirrored(par).replace('@', "6.0"));
    let runs = read(options(folder.path()));
    let head = |slice| runs[0].0.space.position_mm([0.5, 0.0, slice])[2];
    assert!((head(0.0) - 6.0).abs() < 1e-9 && (head(1.0) - 3.0).abs() < 1e-9);
}
