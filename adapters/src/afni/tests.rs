//! The real captures through a real socket, and hand-made commands.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    thread,
};

use flate2::read::GzDecoder;

use super::*;
use crate::adapter::{ScannerAdapter as _, contract, real_data};

fn adapter(options: RunOptions, one_slice: bool) -> (NetworkAdapter, SocketAddr) {
    let protocol = Afni {
        channel: 1,
        one_slice,
        state: State::Commands,
        n_scans: 0,
        connected: Connected::default(),
    };
    let source = TcpSource::bind(protocol, ListenOptions::default(), 0).unwrap();
    let address = source.address();
    (NetworkAdapter::new(Box::new(source), options).unwrap(), address)
}

fn captured(data: &Path, name: &str) -> Vec<u8> {
    let file = std::fs::File::open(data.join("afni_wire").join(name)).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Sends bytes as a sender that closes its connection at the end.
fn send(address: SocketAddr, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        // The adapter may refuse the sender before all is sent.
        stream.write_all(&bytes).ok();
        stream.shutdown(Shutdown::Write).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    })
}

fn one_run() -> RunOptions {
    RunOptions { runs: Some(1), ..RunOptions::default() }
}

/// Runs a capture through the contract; returns its header and volumes.
fn received(bytes: Vec<u8>) -> (corticast_bold::run::RunHeader, Vec<Vec<i16>>) {
    let (mut adapter, address) = adapter(one_run(), false);
    let sender = send(address, bytes);
    let mut runs = contract::holds(&mut adapter);
    drop(adapter);
    sender.join().unwrap();
    let (header, volumes) = runs.remove(0);
    let voxels = |volume: &corticast_images::acquired::AcquiredVolume| {
        volume.voxels.as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect()
    };
    let volumes = volumes.iter().map(voxels).collect();
    (header, volumes)
}

#[test]
fn captures_of_real_senders_become_runs() {
    let Some(data) = real_data() else { return };
    for (name, matrix, n_volumes, tr) in [
        ("dimon_skyra", [64, 64, 27], 11, 1.5),
        ("dimon_prisma", [64, 64, 18], 3, 1.0),
        ("dimon_ge", [64, 64, 15], 6, 5.0),
        ("rtfeedme_3d", [28, 34, 17], 10, 2.0),
        ("rtfeedme_2d", [28, 34, 17], 10, 2.0),
    ] {
        let (header, volumes) = received(captured(&data, &format!("{name}.data.bin.gz")));
        assert_eq!((header.space.matrix(), volumes.len()), (matrix, n_volumes), "{name}");
        assert!((header.repetition_time.as_secs() - tr).abs() < 1e-9, "{name}");
    }
    // Slices in time are the same volumes as volumes in time.
    let flat = |name| received(captured(&data, name)).1;
    assert_eq!(flat("rtfeedme_2d.data.bin.gz"), flat("rtfeedme_3d.data.bin.gz"));
}

#[test]
fn a_capture_places_its_voxels_where_other_converters_do() {
    let Some(data) = real_data() else { return };
    let reference = std::fs::read(data.join("dcm2niix_reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_slice(&reference).unwrap();
    let scan = reference["ge_mr750_epi"].as_object().unwrap().values().next().unwrap();
    let (header, volumes) = received(captured(&data, "dimon_ge.data.bin.gz"));
    let sums: Vec<f64> =
        volumes.iter().map(|v| v.iter().map(|voxel| f64::from(*voxel)).sum()).collect();
    let expected = scan["volume_sums"].as_array().unwrap();
    assert!(expected.iter().map(|sum| sum.as_f64().unwrap()).eq(sums));
    for sample in scan["samples_volume0"].as_array().unwrap() {
        let at: [f64; 3] = std::array::from_fn(|axis| sample["world_mm"][axis].as_f64().unwrap());
        let expected = sample["value"].as_f64().unwrap();
        assert!((value_at(&header.space, &volumes[0], at) - expected).abs() < 0.5);
    }
    // rtfeedme sends the cardinal axes of an oblique scan: +6, +6, +6.6 mm, as 3dinfo shows them.
    let (header, _) = received(captured(&data, "rtfeedme_3d.data.bin.gz"));
    let expected =
        [[-6.0, 0.0, 0.0, 78.7592], [0.0, 6.0, 0.0, -80.5792], [0.0, 0.0, 6.6, -50.3767]];
    for (found, expected) in header.space.affine().iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}

/// The voxel whose centre is nearest to a point in RAS+ mm.
fn value_at(space: &corticast_bold::space::VoxelSpace, volume: &[i16], at: [f64; 3]) -> f64 {
    let [nx, ny, nz] = space.matrix();
    let mut best = (f64::INFINITY, 0);
    for voxel in 0..nx * ny * nz {
        let (x, y, z) = (voxel % nx, voxel / nx % ny, voxel / (nx * ny));
        let found = space.position_mm([x as f64, y as f64, z as f64]);
        let distance: f64 = found.iter().zip(at).map(|(a, b)| (a - b).powi(2)).sum();
        best = if distance < best.0 { (distance, voxel) } else { best };
    }
    assert!(best.0.sqrt() < 1e-3, "no voxel is at {at:?}");
    f64::from(volume[best.1])
}

#[test]
fn the_adapter_and_the_folder_read_one_scan_alike() {
    let Some(data) = real_data() else { return };
    for (folder, capture) in
        [("siemens_prisma_mosaic", "dimon_prisma"), ("siemens_skyra_mosaic", "dimon_skyra")]
    {
        let (header, volumes) = received(captured(&data, &format!("{capture}.data.bin.gz")));
        let mut files: Vec<_> = std::fs::read_dir(data.join(folder))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        let bytes = std::fs::read(&files[1]).unwrap();
        let (matrix, voxels) = crate::dicom::read_file(&bytes).unwrap();
        assert_eq!(matrix, header.space.matrix());
        let wanted: Vec<i16> =
            voxels.as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect();
        assert!(volumes.contains(&wanted), "{capture}");
    }
}

/// Dimon announces one slice for enhanced files and then sends all of each.
#[test]
fn a_scan_of_one_slice_is_refused_unless_it_is_expected() {
    let Some(data) = real_data() else { return };
    let bytes = captured(&data, "dimon_xa30.data.bin.gz");
    let (mut refusing, address) = adapter(one_run(), false);
    let (refused, sender) = (refusing.refused().unwrap(), send(address, bytes.clone()));
    let next = send_after(address, captured(&data, "dimon_prisma.data.bin.gz"), &refused);
    let header = refusing.start_run().unwrap().unwrap();
    assert_eq!(header.space.matrix(), [64, 64, 18], "the refused scan began no run");
    assert_eq!(refused.load(std::sync::atomic::Ordering::Relaxed), 1);
    drop(refusing);
    sender.join().unwrap();
    next.join().unwrap();
    let (mut adapter, address) = adapter(one_run(), true);
    let sender = send(address, bytes);
    assert_eq!(contract::holds(&mut adapter)[0].0.space.matrix(), [64, 64, 1]);
    drop(adapter);
    sender.join().unwrap();
}

/// Sends once something was refused.
fn send_after(
    address: SocketAddr,
    bytes: Vec<u8>,
    refused: &Arc<std::sync::atomic::AtomicU64>,
) -> thread::JoinHandle<()> {
    let refused = Arc::clone(refused);
    thread::spawn(move || {
        while refused.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        send(address, bytes).join().unwrap();
    })
}

const COMMANDS: &str = "ACQUISITION_TYPE 2D+zt\nTR 2\nXYFOV 20 20 30\nXYMATRIX 2 2 3\nXYZAXES \
                        R-L A-P I-S\nXYZFIRST 5R 5A 10I\n";

/// The commands with others after them, and images in which all bytes of image n are n.
fn made(more: &str, n_bytes: usize, n_images: u8) -> Vec<u8> {
    let mut bytes = format!("{COMMANDS}{more}\0").into_bytes();
    (1..=n_images).for_each(|image| bytes.extend(std::iter::repeat_n(image, n_bytes)));
    bytes
}

fn first_voxels(volume: &[i16]) -> Vec<i16> {
    volume.iter().step_by(4).copied().collect()
}

#[test]
fn slices_go_to_their_places_whatever_the_order() {
    for (order, expected) in [
        ("", [0x0101, 0x0303, 0x0202]),
        ("ZORDER seq", [0x0101, 0x0202, 0x0303]),
        ("ZORDER explicit 3 1 2", [0x0202, 0x0303, 0x0101]),
        ("ZORDER explicit 2 0 1", [0x0202, 0x0303, 0x0101]),
    ] {
        let (_, volumes) = received(made(order, 8, 3));
        assert_eq!(first_voxels(&volumes[0]), expected, "{order}");
    }
}

#[test]
fn one_channel_of_several_is_taken() {
    let (_, volumes) = received(made("ZORDER seq\nNUM_CHAN 2", 8, 12));
    let firsts: Vec<_> = volumes.iter().map(|volume| first_voxels(volume)).collect();
    assert_eq!(firsts, [[0x0101, 0x0303, 0x0505], [0x0707, 0x0909, 0x0b0b]]);
    let (_, volumes) = received(made("ACQUISITION_TYPE 3D+t\nNUM_CHAN 2", 24, 5));
    let firsts: Vec<_> = volumes.iter().map(|volume| volume[0]).collect();
    assert_eq!(firsts, [0x0101, 0x0303, 0x0505]);
}

#[test]
fn bytes_are_swapped_and_widened() {
    let mut bytes = format!("{COMMANDS}ACQUISITION_TYPE 3D\nBYTEORDER MSB_FIRST\0").into_bytes();
    bytes.extend((0..12_u8).flat_map(|voxel| [1, voxel]));
    assert_eq!(received(bytes).1[0][..3], [0x0100, 0x0101, 0x0102]);
    let (_, volumes) = received(made("ACQUISITION_TYPE 3D\nDATUM byte", 12, 2));
    assert_eq!((volumes.len(), volumes[1][11]), (2, 2));
}

#[test]
fn a_scan_that_is_not_described_is_refused_with_what_lacks() {
    for (from, to, expected) in [
        ("XYMATRIX 2 2 3", "XYMATRIX 2 2", "ZNUM"),
        ("XYMATRIX 2 2 3", "XYMATRIX 2 2 4000000000", "1 to 1024"),
        ("XYMATRIX 2 2 3", "XYMATRIX 1024 1024 1024", "at most 64 MiB"),
        ("XYZAXES R-L A-P I-S", "XYZAXES R-L A-P L-R", "XYZAXES such as"),
        ("XYZAXES R-L A-P I-S", "NOTE x", "no XYZAXES"),
        ("XYFOV 20 20 30", "XYFOV 20 20", "slice thickness"),
        ("XYFOV 20 20 30", "XYFOV nan 20", "in mm"),
        ("TR 2", "TR -1", "above 0 s"),
        ("TR 2", "DATUM complex", "byte, short or float"),
        ("TR 2", "ZORDER explicit 1 1 2", "each of 3 slices once"),
        ("5A 10I", "5A 10R", "one direction twice"),
    ] {
        let error = read_commands(COMMANDS.replace(from, to).as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }
    assert_eq!(read_commands(COMMANDS.as_bytes()), Ok([2, 2, 3]));
    // Whole words only, values with or without a dash, and texts that are left out.
    let odd = COMMANDS.replace("R-L A-P I-S", "RL AP IS") + "TRUST 3\nXYMATRIXX 9\nNOTE TR 5\n";
    assert_eq!(read_commands(odd.as_bytes()), Ok([2, 2, 3]));
}
