//! Headers as the specification lays them out, byte by byte.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
};

use super::*;
use crate::adapter::contract;

/// A header of 2 x 2 x 3 voxels: field by field at the offsets of the specification.
pub(crate) fn header(series: &str, number: i32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let mut put = |offset: usize, value: &[u8]| {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    };
    put(0, b"ERTI\0");
    put(8, &4_i32.to_le_bytes());
    put(12, series.as_bytes());
    put(76, b"EPI");
    put(140, b"3D");
    put(412, b"int16_t");
    put(428, &[1, 0]);
    [(432, 3.0), (440, 3.0), (448, 3.0), (456, 0.5)]
        .iter()
        .for_each(|(offset, value): &(usize, f64)| put(*offset, &value.to_le_bytes()));
    [(464, 2), (468, 2), (472, 3), (540, 2000), (548, number), (552, 10)]
        .iter()
        .for_each(|(offset, value): &(usize, i32)| put(*offset, &value.to_le_bytes()));
    for (at, value) in [-3.0_f32, 0., 0., 4., 0., 3., 0., -5., 0., 0., 3.5, 6., 0., 0., 0., 1.]
        .into_iter()
        .enumerate()
    {
        put(476 + 4 * at, &value.to_le_bytes());
    }
    bytes
}

/// A volume whose voxels are its number.
pub(crate) fn volume(series: &str, number: i32) -> Vec<u8> {
    let voxels = (number as i16).to_le_bytes().repeat(12);
    [header(series, number).as_slice(), &voxels].concat()
}

fn adapter(run: RunOptions) -> (NetworkAdapter, SocketAddr) {
    let protocol = Murfi { moco: false, lps: false, has_named_moco: false };
    let source = TcpSource::bind(protocol, ListenOptions::default(), 0).unwrap();
    let address = source.address();
    (NetworkAdapter::new(Box::new(source), run).unwrap(), address)
}

fn send(address: SocketAddr, volumes: Vec<Vec<u8>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for bytes in volumes {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    })
}

#[test]
fn volumes_of_connections_of_their_own_are_runs_by_series() {
    let run = RunOptions { runs: Some(2), volumes: Some(2), ..RunOptions::default() };
    let (mut adapter, address) = adapter(run);
    // The second volume has two lengths before it; the third is motion-corrected.
    let lengths = [616_i32.to_le_bytes(), 24_i32.to_le_bytes()].concat();
    let second = [lengths, volume("1.2.3", 2)].concat();
    let mut third = volume("1.2.3", 3);
    third[556] = 1;
    let volumes = vec![volume("1.2.3", 1), second, third, volume("4.5.6", 1), volume("4.5.6", 2)];
    let sender = send(address, volumes);
    let runs = contract::holds(&mut adapter);
    drop(adapter);
    sender.join().unwrap();
    let names: Vec<_> = runs.iter().map(|(header, _)| header.run_id()).collect();
    assert_eq!(names, ["sub-x_run-1", "sub-x_run-2"]);
    for (header, volumes) in &runs {
        assert_eq!(volumes.iter().map(|volume| volume.index.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(header.space.matrix(), [2, 2, 3]);
        assert_eq!(format!("{:?}", header.space.affine()[2]), "[0.0, 0.0, 3.5, 6.0]");
        assert!((header.repetition_time.as_secs() - 2.0).abs() < 1e-9);
        assert_eq!(volumes[1].voxels[..2], [2, 0]);
    }
}

#[test]
fn tiles_of_a_mosaic_and_big_endian_voxels_are_put_in_order() {
    let mut bytes = header("1", 1);
    (bytes[428], bytes[429]) = (0, 1);
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(header.n_bytes(), 2 * 4 * 4);
    // A picture of 4 x 4 pixels; each pixel is its number.
    let picture = (0..16_i16).flat_map(i16::to_be_bytes).collect();
    let voxels: Vec<i16> =
        header.voxels(picture).as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect();
    assert_eq!(voxels, [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13]);
}

#[test]
fn a_header_that_cannot_be_is_refused_with_what_was_found() {
    let change = |offset: usize, value: &[u8]| {
        let mut bytes = header("1", 1);
        bytes[offset..offset + value.len()].copy_from_slice(value);
        Header::parse(&bytes).map(|_| ()).unwrap_err()
    };
    assert!(change(0, b"HTTP").contains("ERTI"));
    assert!(change(8, &[3]).contains("version 3"));
    assert!(change(464, &(-1_i32).to_le_bytes()).contains("-1"));
    assert!(change(472, &i32::MAX.to_le_bytes()).contains("1 to 1024"));
    assert!(change(548, &[0]).contains("number 0"));
    let mut huge = header("1", 1);
    [464, 468, 472].iter().for_each(|at| huge[*at..at + 4].copy_from_slice(&[0, 4, 0, 0]));
    assert!(Header::parse(&huge).unwrap_err().contains("at most 64 MiB"));
    assert!(Header::parse(&huge[..600]).unwrap_err().contains("600"));
}
