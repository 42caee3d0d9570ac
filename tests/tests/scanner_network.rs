//! Volumes that a scanner sends over the network, or exports as PAR/REC, reach the recording: the
//! real adapter between a sender of bytes and a real daemon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use corticast_bold::space::VoxelSpace;
use corticast_tests::{
    Daemon, Site, adapter, counts, published, real_data, recorded_volumes, repository,
};

/// A site for a scan on this space.
fn site(space: &VoxelSpace, tr_s: f64) -> Site {
    Site::for_space(space, [[0, 0, 0], [1, 1, 1], [2, 1, 1], [1, 2, 2]], tr_s)
}

/// The space of [`afni_scan`]: x to the left, y to posterior, z to superior.
fn made_space() -> VoxelSpace {
    let affine = [[-3., 0., 0., 6.], [0., -3., 0., 6.], [0., 0., 3., -4.], [0., 0., 0., 1.]];
    VoxelSpace::new([4, 4, 3], affine).unwrap()
}

/// Connects, sends bytes, and waits until the adapter closes the connection.
fn send(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).ok();
}

/// Commands and volumes of AFNI's protocol; the voxels of volume n are n and n + 1 in turns.
fn afni_scan(n_volumes: u8) -> Vec<u8> {
    let mut bytes = b"ACQUISITION_TYPE 3D+timing\nTR 1.5\nXYFOV 12 12 9\nXYMATRIX 4 4 3\nXYZAXES \
                      R-L A-P I-S\nXYZFIRST 6R 6A 4I\nBYTEORDER LSB_FIRST\nNOTE Planted^Name\n\0"
        .to_vec();
    (1..=n_volumes).for_each(|n| bytes.extend([n, 0, n + 1, 0].repeat(24)));
    bytes
}

#[test]
fn a_scan_over_afnis_protocol_is_recorded() {
    let site = site(&made_space(), 1.5);
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["afni", "--control-port", "0", "--data-port", "0", "--runs", "1", "--sub", "01"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    send(&adapter.listens("afni control"), b"tcp:127.0.0.1:7960\0");
    send(&adapter.listens("afni"), &afni_scan(5));
    let ended = adapter.finish().expect(0, &["run started", "n_volumes=5"]);
    assert!(!ended.log.contains("Planted"), "{}", ended.log);
    // The sender named another port, as behind a tunnel, and reached us.
    assert!(!ended.log.contains("ERROR"), "{}", ended.log);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..5).collect());
    let report = published(&mcap, "run").pop().unwrap();
    assert_eq!(counts(&report)[..4], [5, 0, 0, 0]);
    assert!(!std::fs::read(&mcap).unwrap().windows(7).any(|bytes| bytes == b"Planted"));
}

#[test]
fn a_sender_that_waits_for_another_port_is_told_of() {
    let site = site(&made_space(), 1.5);
    let flags = ["afni", "--control-port", "0", "--data-port", "0"];
    let adapter = adapter(&site, "tcp://127.0.0.1:1", &flags);
    send(&adapter.listens("afni control"), b"tcp:127.0.0.1:7960\0");
    corticast_tests::wait_for("the error", || {
        adapter.log().contains("has not connected to").then_some(())
    });
    assert!(adapter.log().contains("give --data-port 7960"), "{}", adapter.log());
}

#[test]
fn what_dimon_really_sent_is_recorded() {
    let Some(data) = real_data("what_dimon_really_sent_is_recorded") else { return };
    let facts = std::fs::read(repository("tests/data/dicom/nibabel.json")).unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
    let affine = serde_json::from_value(facts["skyra"]["affine"].clone()).unwrap();
    let site = site(&VoxelSpace::new([64, 64, 27], affine).unwrap(), 1.5);
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["afni", "--control-port", "0", "--data-port", "0", "--runs", "1"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    let file = std::fs::File::open(data.join("afni_wire/dimon_skyra.data.bin.gz")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    send(&adapter.listens("afni"), &bytes);
    drop(adapter.finish().expect(0, &["n_volumes=11"]));
    // The first and the last file of this export are one image, and the protocol has no numbers:
    // the daemon drops the last volume by its bytes, and says that the run lacks one.
    assert_eq!(daemon.stop().code, Some(3));
    assert_eq!(recorded_volumes(&mcap), (0..10).collect());
}

#[test]
fn a_real_parrec_export_is_recorded() {
    let Some(data) = real_data("a_real_parrec_export_is_recorded") else { return };
    let folder = data.join("philips_parrec");
    // As nibabel (5.4.2) has it, given the off-centre and the angles of the images: the export
    // leaves those of the scan 0, and nibabel reads only those.
    let affine = [
        [-2.9922824525681735, -0.2039933544923529, 0.09074932874491193, 124.56431573758788],
        [0.203927047762892, -2.9930563572644555, -0.006979516639123239, 126.01946453252052],
        [0.06826040758234764, -0.0005946106173105048, 3.9989643466377434, 11.61444969060511],
        [0., 0., 0., 1.],
    ];
    let site = site(&VoxelSpace::new([80, 80, 15], affine).unwrap(), 1.0);
    let mcap = site.path("session.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let flags = ["parrec", folder.to_str().unwrap(), "--once", "--speed", "0"];
    let adapter = adapter(&site, daemon.endpoint("adapter"), &flags);
    drop(adapter.finish().expect(0, &["n_volumes=4", "display values"]));
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..4).collect());
}
