//! DICOM files of a small Siemens series, with planted identities.

use std::{fs, io::Read as _, ops::Range};

use flate2::read::GzDecoder;

use crate::repository;

/// Byte range of an attribute's value (explicit little endian, short value representation).
#[must_use]
pub fn value_of(file: &[u8], tag: [u8; 4]) -> Range<usize> {
    let at = file.windows(4).position(|bytes| bytes == tag).expect("the attribute");
    let length = u16::from_le_bytes([file[at + 6], file[at + 7]]);
    at + 8..at + 8 + usize::from(length)
}

/// The text of an attribute, without its padding.
#[must_use]
pub fn text_of(file: &[u8], tag: [u8; 4]) -> String {
    let value = String::from_utf8_lossy(&file[value_of(file, tag)]).into_owned();
    value.trim_end_matches(['\0', ' ']).to_owned()
}

/// A file of `tests/data/dicom`: `skyra` or `prisma`.
#[must_use]
pub fn fixture(name: &str) -> Vec<u8> {
    let packed = repository(&format!("tests/data/dicom/{name}.dcm.gz"));
    let packed = fs::read(packed).expect("a fixture");
    let mut file = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut file).expect("a fixture");
    file
}

/// The skyra fixture as a volume of its series, 1 to 9.
#[must_use]
pub fn mosaic(number: u8) -> Vec<u8> {
    let mut file = fixture("skyra");
    let digit = b'0' + number;
    for tag in [[0x20, 0, 0x12, 0], [0x20, 0, 0x13, 0]] {
        let value = value_of(&file, tag);
        file[value.start] = digit;
    }
    let mut uid = value_of(&file, [0x08, 0, 0x18, 0]).rev();
    let last = uid.find(|&at| file[at].is_ascii_digit()).expect("a digit in the UID");
    file[last] = digit;
    // Make the volumes differ, as noise does in real scans.
    let n = file.len();
    for pixel in file[n - 200_000..].as_chunks_mut::<2>().0 {
        pixel[0] = pixel[0].wrapping_mul(number);
    }
    file
}
