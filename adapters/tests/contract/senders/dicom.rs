//! DICOM images of one slice, in a folder and over the DICOM network.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use clap::Parser;
use corticast_adapter::{
    adapter::ScannerAdapter,
    dicom::{DicomAdapter, DicomOptions},
    store::{self, Spool, StoreOptions},
};
use dicom_ul::{
    ClientAssociation, ClientAssociationOptions,
    pdu::{PDataValue, PDataValueType, Pdu},
};
use tempfile::TempDir;

use super::{Sender, free_port, listen};

const CLASS: &str = "1.2.840.10008.5.1.4.1.1.4";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: DicomOptions,
}

fn options(folder: &Path) -> DicomOptions {
    let flags = ["--deadline-s", "0.2", "--poll-ms", "10", "--end-after-s", "3600"];
    let folder = folder.to_str().unwrap();
    Command::parse_from(["dicom", folder].iter().chain(&flags)).options
}

/// An element with a short value, little-endian.
fn element(to: &mut Vec<u8>, group: u16, number: u16, kind: &[u8; 2], value: &[u8]) {
    to.extend(group.to_le_bytes());
    to.extend(number.to_le_bytes());
    to.extend(kind);
    let length = value.len().next_multiple_of(2);
    if kind == b"OW" {
        to.extend([0, 0]);
        to.extend((length as u32).to_le_bytes());
    } else {
        to.extend((length as u16).to_le_bytes());
    }
    to.extend(value);
    to.resize(to.len() + length - value.len(), b' ');
}

/// UID of an image.
fn uid(scan: u8, index: u32, slice: u32) -> String {
    format!("1.2.3.{scan}.{index}.{slice}")
}

/// One of the two slices of a volume, of `size` x `size` pixels.
fn slice(scan: u8, index: u32, slice: u32, size: u16) -> Vec<u8> {
    let mut data = Vec::new();
    let mut text = |group, number, kind: &[u8; 2], value: &str| {
        element(&mut data, group, number, kind, value.as_bytes());
    };
    text(8, 8, b"CS", r"ORIGINAL\PRIMARY\M");
    text(8, 0x16, b"UI", CLASS);
    text(8, 0x18, b"UI", &uid(scan, index, slice));
    text(8, 0x32, b"TM", &format!("10{scan:02}{index:02}"));
    text(8, 0x60, b"CS", "MR");
    text(8, 0x70, b"LO", "GE MEDICAL SYSTEMS");
    text(0x18, 0x20, b"CS", "EP");
    text(0x18, 0x50, b"DS", "3");
    text(0x18, 0x80, b"DS", "1000");
    text(0x20, 0x0E, b"UI", &format!("1.2.3.{scan}"));
    text(0x20, 0x11, b"IS", &scan.to_string());
    text(0x20, 0x12, b"IS", "1");
    text(0x20, 0x13, b"IS", &(2 * index + slice + 1).to_string());
    text(0x20, 0x32, b"DS", &format!(r"0\0\{}", 3 * slice));
    text(0x20, 0x37, b"DS", r"1\0\0\0\1\0");
    text(0x20, 0x100, b"IS", &(index + 1).to_string());
    text(0x20, 0x1002, b"IS", "2");
    for (number, value) in [(2, 1_u16), (0x10, size), (0x11, size)] {
        element(&mut data, 0x28, number, b"US", &value.to_le_bytes());
    }
    element(&mut data, 0x28, 0x30, b"DS", br"2\2");
    for (number, value) in [(0x100, 16_u16), (0x101, 16), (0x102, 15), (0x103, 0)] {
        element(&mut data, 0x28, number, b"US", &value.to_le_bytes());
    }
    let pixels = (index as u16 + 1).to_le_bytes().repeat(usize::from(size.min(9)).pow(2));
    element(&mut data, 0x7FE0, 0x10, b"OW", &pixels);
    data
}

/// Where images go.
trait Place {
    fn put(&mut self, uid: &str, data: &[u8], n_bytes: usize);
    fn gone(&mut self);
}

struct Images<P>(P);

impl<P: Place> Images<P> {
    fn whole(&mut self, scan: u8, index: u32, size: u16) {
        for number in 0..2 {
            let data = slice(scan, index, number, size);
            self.0.put(&uid(scan, index, number), &data, data.len());
        }
    }
}

impl<P: Place> Sender for Images<P> {
    fn volume(&mut self, scan: u8, index: u32) {
        self.whole(scan, index, 2);
    }

    fn other_shape(&mut self, scan: u8, index: u32) {
        self.whole(scan, index, 3);
    }

    fn cut(&mut self, scan: u8, index: u32) {
        let data = slice(scan, index, 0, 2);
        self.0.put(&uid(scan, index, 0), &data, data.len());
        self.0.put(&uid(scan, index, 1), &slice(scan, index, 1, 2), 300);
        self.0.gone();
    }

    fn garbage(&mut self) {
        self.0.put("1.2.3.99", &[0xff; 400], 400);
    }

    fn absurd(&mut self) {
        let data = slice(98, 0, 0, u16::MAX);
        self.0.put(&uid(98, 0, 0), &data, data.len());
    }

    fn gone(&mut self) {
        self.0.gone();
    }
}

/// A folder, into which files are renamed.
struct Folder {
    folder: TempDir,
}

impl Place for Folder {
    fn put(&mut self, uid: &str, data: &[u8], n_bytes: usize) {
        let mut meta = Vec::new();
        element(&mut meta, 2, 0x10, b"UI", EXPLICIT_LITTLE.as_bytes());
        let file = [&[0; 128], &b"DICM"[..], &meta, &data[..n_bytes]].concat();
        // Duplicates come under another name.
        let n = fs::read_dir(self.folder.path()).unwrap().count();
        let hidden = self.folder.path().join(".part");
        fs::write(&hidden, file).unwrap();
        fs::rename(hidden, self.folder.path().join(format!("{n}_{uid}"))).unwrap();
    }

    fn gone(&mut self) {}
}

pub(super) fn open() -> (Box<dyn ScannerAdapter>, Box<dyn Sender>) {
    let folder = tempfile::tempdir().unwrap();
    let adapter = DicomAdapter::open(options(folder.path())).unwrap();
    (Box::new(adapter), Box::new(Images(Folder { folder })))
}

/// A storage user, with an association that is made when it is needed.
struct Network {
    to: (IpAddr, u16),
    association: Option<ClientAssociation<std::net::TcpStream>>,
    _spool: Spool,
    _folder: TempDir,
}

impl Place for Network {
    fn put(&mut self, uid: &str, data: &[u8], n_bytes: usize) {
        let to = self.to;
        let association = self.association.get_or_insert_with(|| {
            ClientAssociationOptions::new()
                .with_presentation_context(CLASS, vec![EXPLICIT_LITTLE])
                .calling_ae_title("SCANNER")
                .called_ae_title("CORTICAST")
                .read_timeout(Duration::from_secs(60))
                .establish(to)
                .unwrap()
        });
        let context = association.presentation_contexts()[0].id;
        let piece = |value_type, is_last, data: Vec<u8>| {
            let presentation_context_id = context;
            Pdu::PData {
                data: vec![PDataValue { presentation_context_id, value_type, is_last, data }],
            }
        };
        let request = piece(PDataValueType::Command, true, request(uid));
        association.send(&request).unwrap();
        let is_whole = n_bytes == data.len();
        association.send(&piece(PDataValueType::Data, is_whole, data[..n_bytes].to_vec())).unwrap();
        if is_whole {
            association.receive().unwrap();
        }
    }

    fn gone(&mut self) {
        self.association = None;
    }
}

/// A request to store an image (PS3.7, 9.3.1.1).
fn request(uid: &str) -> Vec<u8> {
    let mut elements = Vec::new();
    let mut put = |number: u16, value: &[u8]| {
        elements.extend(0_u16.to_le_bytes());
        elements.extend(number.to_le_bytes());
        elements.extend((value.len().next_multiple_of(2) as u32).to_le_bytes());
        elements.extend(value);
        elements.resize(elements.len().next_multiple_of(2), 0);
    };
    put(2, CLASS.as_bytes());
    put(0x100, &1_u16.to_le_bytes());
    put(0x110, &1_u16.to_le_bytes());
    put(0x700, &0_u16.to_le_bytes());
    put(0x800, &1_u16.to_le_bytes());
    put(0x1000, uid.as_bytes());
    let mut command = vec![0, 0, 0, 0, 4, 0, 0, 0];
    command.extend((elements.len() as u32).to_le_bytes());
    command.extend(elements);
    command
}

pub(super) fn open_network() -> (Box<dyn ScannerAdapter>, Box<dyn Sender>) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path()).unwrap();
    let listen = listen();
    let to = (listen.listen, free_port(listen.listen));
    let options = StoreOptions {
        dicom: options(folder.path()),
        listen,
        port: to.1,
        ae_title: "CORTICAST".to_owned(),
        from: vec!["SCANNER".to_owned()],
    };
    let adapter = store::open(options, &spool).unwrap();
    let network = Network { to, association: None, _spool: spool, _folder: folder };
    (Box::new(adapter), Box::new(Images(network)))
}
