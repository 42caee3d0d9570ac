//! Streams made byte by byte as the specification says. A test of the whole system uses the
//! `ismrmrd` package.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
};

use super::*;
use crate::adapter::{ScannerAdapter as _, contract};

const XML: &str = "<ismrmrdHeader><encoding><encodingLimits><slice><maximum>1</maximum></slice>\
                   </encodingLimits></encoding><sequenceParameters><TR>1500</TR>\
                   </sequenceParameters></ismrmrdHeader>\0";

fn adapter() -> (NetworkAdapter, SocketAddr) {
    let protocol = Mrd { echo: 1, one_way: false, session: None, n_sessions: 0 };
    let source = TcpSource::bind(protocol, ListenOptions::default(), 0).unwrap();
    let address = source.address();
    let run = RunOptions { runs: Some(1), ..RunOptions::default() };
    (NetworkAdapter::new(Box::new(source), run).unwrap(), address)
}

fn config() -> Vec<u8> {
    let mut bytes = CONFIG_FILE.to_le_bytes().to_vec();
    bytes.extend([0; CONFIG_FILE_BYTES]);
    bytes
}

fn metadata(xml: &str) -> Vec<u8> {
    let mut bytes = METADATA.to_le_bytes().to_vec();
    bytes.extend((xml.len() as u32).to_le_bytes());
    bytes.extend(xml.as_bytes());
    bytes
}

/// An image of 2 x 2 pixels of 16 bits; all have the value `pixel`.
fn image(slice: u16, repetition: u16, pixel: u16) -> Vec<u8> {
    let mut header = [0_u8; IMAGE_HEADER_BYTES];
    let mut put = |at: usize, value: &[u8]| header[at..at + value.len()].copy_from_slice(value);
    for (at, value) in [(0, 1_u16), (2, 1), (16, 2), (18, 2), (20, 1), (34, 1), (124, 1)] {
        put(at, &value.to_le_bytes());
    }
    for (at, value) in [(98, slice), (104, repetition), (126, 10 * repetition + slice + 1)] {
        put(at, &value.to_le_bytes());
    }
    // 6 x 6 x 3 mm; slices 4 mm apart towards the head.
    for (at, value) in [(22, 6.0_f32), (26, 6.0), (30, 3.0), (36, 10.0), (40, -20.0)] {
        put(at, &value.to_le_bytes());
    }
    put(44, &(5.0 + 4.0 * f32::from(slice)).to_le_bytes());
    [48, 64, 80].iter().for_each(|at| put(*at, &1.0_f32.to_le_bytes()));
    let mut bytes = IMAGE.to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(3_u64.to_le_bytes());
    bytes.extend(b"<a>");
    bytes.extend(pixel.to_le_bytes().repeat(4));
    bytes
}

/// Sends a stream; returns what came back.
fn send(address: SocketAddr, bytes: Vec<u8>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).ok();
        stream.shutdown(Shutdown::Both).ok();
        back
    })
}

fn close() -> Vec<u8> {
    CLOSE.to_le_bytes().to_vec()
}

#[test]
fn slices_become_volumes_and_images_and_close_go_back() {
    let (mut adapter, address) = adapter();
    // Slices in any order; a waveform and a text in between.
    let images = [image(1, 0, 11), image(0, 0, 10), image(0, 1, 20), image(1, 1, 21)];
    let mut waveform = WAVEFORM.to_le_bytes().to_vec();
    waveform.extend([0; WAVEFORM_HEADER_BYTES]);
    waveform[2 + 28] = 2;
    waveform[2 + 30] = 3;
    waveform.extend([0; 24]);
    let text = [&TEXT.to_le_bytes()[..], &[2, 0, 0, 0], b"x\0"].concat();
    let stream = [
        config(),
        metadata(XML),
        images[..2].concat(),
        waveform,
        text,
        images[2..].concat(),
        close(),
    ];
    let sender = send(address, stream.concat());
    let runs = contract::holds(&mut adapter);
    assert_eq!(sender.join().unwrap(), [images.concat(), close()].concat());
    let (header, volumes) = &runs[0];
    assert_eq!(header.space.matrix(), [2, 2, 2]);
    assert!((header.repetition_time.as_secs() - 1.5).abs() < 1e-9);
    assert_eq!(volumes.len(), 2);
    assert_eq!(
        volumes[1].voxels[..],
        [20, 0].repeat(4).into_iter().chain([21, 0].repeat(4)).collect::<Vec<u8>>()
    );
    // Voxels of 3 x 3 x 4 mm; the centre of slice 0 is at LPS (10, -20, 5).
    let expected = [[-3., 0., 0., -8.5], [0., -3., 0., 21.5], [0., 0., 4., 5.], [0., 0., 0., 1.]];
    for (found, expected) in header.space.affine().iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn without_a_number_of_slices_the_first_repetition_counts_them() {
    let (mut adapter, address) = adapter();
    let xml = XML.replace("<maximum>1<", "<maximum>0<");
    let images = [image(0, 0, 1), image(1, 0, 2), image(0, 1, 3), image(1, 1, 4), image(0, 2, 5)];
    let stream = [config(), metadata(&xml), images.concat(), close()].concat();
    let sender = send(address, stream);
    let runs = contract::holds(&mut adapter);
    sender.join().unwrap();
    let indices: Vec<u32> = runs[0].1.iter().map(|volume| volume.index.0).collect();
    assert_eq!(indices, [0, 1], "the third volume lacks a slice");
}

#[test]
fn repetitions_that_do_not_count_are_counted_here() {
    let (mut adapter, address) = adapter();
    let mut images = [image(0, 0, 1), image(1, 0, 2), image(0, 0, 3), image(1, 0, 4)];
    // Other image indices, the same repetition.
    images[2][2 + 126] = 77;
    images[3][2 + 126] = 78;
    let sender = send(address, [config(), metadata(XML), images.concat(), close()].concat());
    let runs = contract::holds(&mut adapter);
    sender.join().unwrap();
    let indices: Vec<u32> = runs[0].1.iter().map(|volume| volume.index.0).collect();
    assert_eq!(indices, [0, 1]);
}

#[test]
fn a_stream_that_cannot_be_taken_is_told_why_and_closed() {
    let mut huge = image(0, 0, 0);
    huge[18..22].copy_from_slice(&[0, 4, 0, 4]);
    huge[22..24].copy_from_slice(&[0, 4]);
    let long = [&METADATA.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    for (message, expected) in [
        (ACQUISITION.to_le_bytes().to_vec(), "raw data"),
        (9999_u16.to_le_bytes().to_vec(), "message 9999"),
        (huge, "at most 64 MiB"),
        (long, "4294967295 bytes"),
        (metadata("<a"), "XML header"),
    ] {
        let (mut adapter, address) = adapter();
        let refused = adapter.refused().unwrap();
        let sender = send(address, [config(), message].concat());
        let receiver = thread::spawn(move || adapter.start_run());
        let back = sender.join().unwrap();
        let back_text = String::from_utf8_lossy(&back);
        assert!(back_text.contains(expected), "{back_text}");
        assert_eq!(back[back.len() - 2..], close());
        assert_eq!(refused.load(std::sync::atomic::Ordering::Relaxed), 1);
        // The next stream is taken.
        let images = [image(0, 0, 1), image(1, 0, 2)].concat();
        let sender = send(address, [config(), metadata(XML), images, close()].concat());
        assert!(receiver.join().unwrap().unwrap().is_some());
        drop(sender);
    }
}

#[test]
fn the_refusal_of_a_second_stream_is_a_text_and_close() {
    let [5, 0, length, 0, 0, 0, text @ .., 4, 0] = Mrd::REFUSAL else { panic!() };
    assert_eq!(usize::from(*length), text.len());
    assert_eq!(text.last(), Some(&0));
}
