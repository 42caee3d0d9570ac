//! Test files made from the headers in `tests/data/dicom`, with any acquisition number.

use std::{collections::HashMap, io::Read, path::PathBuf};

use flate2::read::GzDecoder;

use super::elements::{Elements, text};

pub const SOP_INSTANCE_UID: u32 = 0x0008_0018;
pub const ACQUISITION_TIME: u32 = 0x0008_0032;
pub const REPETITION_TIME: u32 = 0x0018_0080;
pub const SERIES_INSTANCE_UID: u32 = 0x0020_000E;
pub const ACQUISITION_NUMBER: u32 = 0x0020_0012;
pub const INSTANCE_NUMBER: u32 = 0x0020_0013;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/dicom")
}

/// The unchanged file.
pub fn original(name: &str) -> Vec<u8> {
    let packed = std::fs::read(folder().join(format!("{name}.dcm.gz"))).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Values that nibabel reads from a scan.
#[derive(serde::Deserialize)]
pub struct Expected {
    pub matrix: [usize; 3],
    pub affine: [[f64; 4]; 4],
    pub repetition_time_s: f64,
    pub slice_times_s: Vec<f64>,
    /// CRC-32 of the voxels, x fastest; only for real scans.
    #[serde(default)]
    pub crc32: u32,
}

/// The values from nibabel, by name of the fixture or of the real file.
pub fn nibabel() -> HashMap<String, Expected> {
    serde_json::from_slice(&std::fs::read(folder().join("nibabel.json")).unwrap()).unwrap()
}

/// The value of a text attribute.
pub fn text_of(name: &str, tag: u32) -> String {
    let bytes = original(name);
    let mut elements = Elements::of_file(&bytes).unwrap().0;
    while let Some(element) = elements.next().unwrap() {
        if element.tag == tag {
            return text(element.value).unwrap().to_owned();
        }
    }
    panic!("no such attribute in {name}")
}

/// The file as the volume of this acquisition number, with further texts replaced.
pub fn volume(name: &str, number: u32, edits: &[(u32, &str)]) -> Vec<u8> {
    let instance = format!("{}.{number}", text_of(name, SERIES_INSTANCE_UID));
    let decimal = number.to_string();
    let mut bytes = original(name);
    let usual: [(u32, &str); 3] = [
        (SOP_INSTANCE_UID, &instance),
        (ACQUISITION_NUMBER, &decimal),
        (INSTANCE_NUMBER, &decimal),
    ];
    for &(tag, value) in usual.iter().chain(edits) {
        bytes = edited(&bytes, tag, value);
    }
    bytes
}

/// The same file with another value of a text attribute.
pub fn edited(bytes: &[u8], tag: u32, value: &str) -> Vec<u8> {
    let mut elements = Elements::of_file(bytes).unwrap().0;
    while let Some(element) = elements.next().unwrap() {
        if element.tag == tag {
            let old = element.value;
            let start = old.as_ptr() as usize - bytes.as_ptr() as usize;
            let (before, after) = (&bytes[..start - 2], &bytes[start + old.len()..]);
            let mut value = value.as_bytes().to_vec();
            value.resize(value.len().next_multiple_of(2), b' ');
            let length = (value.len() as u16).to_le_bytes();
            // Tag and value representation stay.
            return [before, &length, &value, after].concat();
        }
    }
    panic!("no such attribute")
}
