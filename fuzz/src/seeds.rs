//! Where fuzzing starts: a few small valid inputs of each target, made by code or from the data of
//! the tests.

use std::{io::Read, path::PathBuf, sync::LazyLock};

use bytes::Bytes;
use corticast::recording::{
    file::RecordingFile,
    format::{COMMAND, SESSION, WIRE, pack},
};
use corticast_bold::{
    decode::{Dtype, Order},
    feedback::seal::{Arm, SealedAssignment, StudyKey},
    run::{RunEntities, RunHeader},
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_images::nifti::{format::NiftiFormat, write::NiftiWriter};
use corticast_wire::{
    message::{Encoding, End, FromAdapter, Mark, VolumeHeader, VolumeMessage},
    work::{Failed, FromWorker, Hello, Job, JobId, MadeHeader, MadePictures, ToWorker},
};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// Both encodings of headers.
pub const ENCODINGS: [Encoding; 2] = [Encoding::MessagePack, Encoding::Json];

/// The seeds of a target.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "adapter" => {
            let answers: [(&[u8], &[u8]); 2] = [
                (b"ack", br#"{"run":"sub-01_run-1","index":3}"#),
                (b"ping", br#"{"instance":"a"}"#),
            ];
            let answers = answers.map(|(kind, header)| {
                pack(&[Bytes::from_static(kind), Bytes::from_static(header)]).to_vec()
            });
            let messages = ENCODINGS.into_iter().flat_map(|encoding| {
                let frames = |message: FromAdapter| pack(&message.to_frames(encoding)).to_vec();
                messages().into_iter().map(frames).collect::<Vec<_>>()
            });
            messages.chain(answers).collect()
        }
        "worker" => worker_messages(),
        "dicom" => vec![small_mosaic(), MOSAIC.bytes.clone()],
        "csa" => vec![MOSAIC.bytes[MOSAIC.csa.clone()].to_vec(), small_csa()],
        "nifti" => ["a.nii", "a.nii.gz"].map(image).into(),
        "recording" => {
            let whole = recording();
            let cut = whole[..whole.len() - 60].to_vec();
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 0x10;
            vec![whole, cut, damaged]
        }
        "manifest" => ["tests/data/models/neurons-tiny", "tests/data/models/linear-3x4"]
            .map(|folder| with_empty_files(&format!("{folder}/manifest.toml")).into_bytes())
            .into(),
        "video" => vec![with_empty_files("models/demo/video/video.toml").into_bytes()],
        "events" => vec![
            b"onset\tduration\ttrial_type\n0.5\t2\tface\nn/a\t1\thouse\n3e1\tn/a\t\n".to_vec(),
            b"\xef\xbb\xbfduration\tx\tonset\r\n0\t\t-1.5\r\n".to_vec(),
        ],
        "sidecar" => vec![br#"{"RepetitionTime": 2.0, "SliceTiming": [0, 1.0]}"#.to_vec()],
        "assignment" => vec![
            serde_json::to_vec(&sealed()).expect("plain fields"),
            b" 00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff\n".to_vec(),
        ],
        _ => scanner(target),
    }
}

/// What senders of the network, and PAR files, begin with.
fn scanner(target: &str) -> Vec<Vec<u8>> {
    match target {
        "afni" => vec![
            b"ACQUISITION_TYPE 3D+timing\nZORDER seq\nTR 1.5\nXYFOV 12 12 9\nXYMATRIX 4 4 3\nDATUM \
              short\nXYZAXES R-L A-P I-S\nXYZFIRST 6R 6A 4I\nBYTEORDER LSB_FIRST\nOBLIQUE_XFORM 3 0 \
              0 -6 0 3 0 -6 0 0 3 -4 0 0 0 1\n"
                .to_vec(),
            b"XYMATRIX 2 2\nZNUM 3\nXYZAXES RL AP IS\nZORDER explicit 3 1 2\nXYFOV 6 0\nZDELTA 3\n\
              NUM_CHAN 2"
                .to_vec(),
        ],
        "mrd" => vec![
            b"<ismrmrdHeader><encoding><encodingLimits><slice><maximum>9</maximum></slice>\
              </encodingLimits></encoding><sequenceParameters><TR>1500</TR></sequenceParameters>\
              </ismrmrdHeader>"
                .to_vec(),
        ],
        "mrd-image" => vec![numbers(198, &[(0, 1), (2, 1), (16, 4), (18, 4), (20, 3), (34, 1)])],
        "murfi" => {
            let fields = [(8, 4), (428, 1), (464, 4), (468, 4), (472, 3), (540, 1500), (548, 1)];
            let mut header = numbers(616, &fields);
            header[..4].copy_from_slice(b"ERTI");
            vec![header]
        }
        "pyneal" => vec![
            br#"{"volIdx":0,"dtype":"int16","shape":[4,4,3],"TR":"1.5",
            "affine":"[[3,0,0,0],[0,3,0,0],[0,0,3,0],[0,0,0,1]]"}"#
                .to_vec(),
        ],
        "parrec" => vec![
            b"# export tool     V4.2\n.    Repetition time [ms]  :   1500\n1 1 1 1 0 2 0 16 100 2 2 0 1 \
              1 0 0 0 0 0 0 3 0 3 0 0 1 0 2 3 3 30 0\n"
                .to_vec(),
        ],
        // A verification: field and message id.
        "lsl-search" => vec![
            b"7\r\n<?xml version=\"1.0\"?><info><name>Markers</name><channel_count>1</channel_count>\
              <channel_format>string</channel_format><uid>a-1</uid><v4data_port>16572</v4data_port>\
              <v4service_port>16573</v4service_port></info>"
                .to_vec(),
        ],
        "lsl-samples" => ["1234", "4321"].map(lsl_stream).into(),
        "store" => vec![
            b"\0\0\0\x01\x02\0\0\0\x30\0\0\0\x10\x01\x02\0\0\0\x01\0".to_vec(),
        ],
        _ => Vec::new(),
    }
}

/// The key of [`sealed`].
pub fn study_key() -> StudyKey {
    StudyKey::from_bytes([7; 32])
}

/// A sealed assignment.
pub fn sealed() -> SealedAssignment {
    SealedAssignment::seal("01", Arm::Yoked, &study_key(), [9; 16])
}

/// Zeros, with little-endian numbers at these places.
fn numbers(n_bytes: usize, values: &[(usize, u16)]) -> Vec<u8> {
    let mut bytes = vec![0; n_bytes];
    for (at, value) in values {
        bytes[*at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn space() -> VoxelSpace {
    let affine = [[-3., 0., 0., 9.], [0., 3., 0., 0.], [0., 0., 4., -7.], [0., 0., 0., 1.]];
    VoxelSpace::new([2, 3, 1], affine).expect("valid")
}

fn repetition_time() -> RepetitionTime {
    RepetitionTime::from_secs(1.5).expect("valid")
}

fn messages() -> Vec<FromAdapter> {
    let run = "sub-01_task-rest_run-1";
    let header = RunHeader {
        session: "pilot".into(),
        entities: RunEntities::from_name(run).expect("valid"),
        repetition_time: repetition_time(),
        space: space(),
        n_volumes: Some(2),
        source: "test".into(),
        series_id: "a".into(),
        slice_times: None,
    };
    let volume = VolumeHeader {
        run: run.into(),
        index: TrIndex(1),
        acquisition_time_s: Some(1.5),
        dtype: Dtype::Int16,
        shape: Some(vec![2, 3, 1]),
        order: Order::C,
        crc32: Some(7),
        slope: Some(0.5),
        intercept: Some(10.0),
        scanner_wall_time: Some("10:11:12".into()),
    };
    let voxels = Bytes::from_static(&[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]);
    vec![
        FromAdapter::Run { header, resume: true },
        FromAdapter::Volume(VolumeMessage { header: volume, voxels }),
        FromAdapter::Mark(Mark {
            run: run.into(),
            time_s: 3.0,
            name: "house".into(),
            value: Some(1.5),
        }),
        FromAdapter::End(End { run: run.into(), n_sent: Some(2), triggers: None }),
        FromAdapter::Ping,
    ]
}

fn worker_messages() -> Vec<Vec<u8>> {
    let made = MadeHeader {
        id: 1,
        mode: "live".into(),
        steps: 2,
        seed: 3,
        caption: Some("a cat".into()),
        caption_cut: false,
        took_ns: 4,
        n_frame: 1,
        edge: 2,
        n_blurry: 1,
        blurry_edge: 1,
        mask_edge: 1,
    };
    let pictures = MadePictures {
        frames: Bytes::from_static(&[7; 12]),
        blurry: Bytes::from_static(&[8; 3]),
        mask: Bytes::from_static(&[9]),
    };
    let hello = Hello {
        protocol: 1,
        name: "a".into(),
        files: "b".into(),
        settings: "mode = 1".into(),
        made_with: "cpu".into(),
    };
    let from = [
        FromWorker::Hello(hello),
        FromWorker::Made(made, pictures),
        FromWorker::Failed(Failed { id: 1, reason: "no memory".into(), dropped: true }),
    ];
    let job = Job { id: 1, run: "sub-01".into(), index: 2, stimulus_time_s: 3.0 };
    let to = [ToWorker::Job(job, Bytes::from_static(b"xyz")), ToWorker::Drop(JobId { id: 1 })];
    let from = from.iter().map(|message| pack(&message.to_frames()).to_vec());
    from.chain(to.iter().map(|message| pack(&message.to_frames()).to_vec())).collect()
}

/// A file of a scanner whose slices have one voxel.
struct Mosaic {
    bytes: Vec<u8>,
    /// Where Siemens' own header is.
    csa: std::ops::Range<usize>,
}

static MOSAIC: LazyLock<Mosaic> = LazyLock::new(|| {
    let packed = std::fs::read(file("tests/data/dicom/prisma.dcm.gz")).expect("data of the tests");
    let mut bytes = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).expect("a whole file");
    let find = |wanted: &[u8]| {
        bytes.windows(wanted.len()).position(|found| found == wanted).expect("an element")
    };
    let (rows, columns) = (find(b"\x28\0\x10\0US"), find(b"\x28\0\x11\0US"));
    let csa = find(b"\x29\0\x10\x10OB") + 12;
    let pixels = find(b"\xe0\x7f\x10\0OW");
    let n_csa = u32::from_le_bytes(bytes[csa - 4..csa].try_into().expect("four bytes")) as usize;
    // 25 tiles hold the 18 slices of the scan.
    let edge: u16 = 5;
    for place in [rows, columns] {
        bytes[place + 8..place + 10].copy_from_slice(&edge.to_le_bytes());
    }
    let picture = 2 * usize::from(edge) * usize::from(edge);
    bytes[pixels + 8..pixels + 12].copy_from_slice(&(picture as u32).to_le_bytes());
    bytes.truncate(pixels + 12 + picture);
    Mosaic { bytes, csa: csa..csa + n_csa }
});

/// The file with these bytes as Siemens' own header.
#[must_use]
pub fn with_csa(csa: &[u8]) -> Vec<u8> {
    let Mosaic { bytes, csa: place } = &*MOSAIC;
    let padded = csa.len().next_multiple_of(2);
    let mut file = bytes[..place.start - 4].to_vec();
    file.extend((padded as u32).to_le_bytes());
    file.extend(csa);
    file.resize(file.len() + padded - csa.len(), 0);
    file.extend(&bytes[place.end..]);
    file
}

/// The three tags that are read, and no others.
fn small_csa() -> Vec<u8> {
    let mut csa = b"SV10\x04\x03\x02\x01\x03\0\0\0M\0\0\0".to_vec();
    for (name, items) in [
        ("NumberOfImagesInMosaic", vec!["25"]),
        ("SliceNormalVector", vec!["0.0", "0.0", "1.0"]),
        ("MosaicRefAcqTimes", vec!["0.0", "500.0"]),
    ] {
        let mut tag = name.as_bytes().to_vec();
        tag.resize(64, 0);
        tag.extend([1, 0, 0, 0, b'F', b'D', 0, 0, 0, 0, 0, 0]);
        tag.extend((items.len() as u32).to_le_bytes());
        tag.extend([0; 4]);
        for item in items {
            tag.extend([0; 4]);
            tag.extend((item.len() as u32).to_le_bytes());
            tag.extend([0; 8]);
            tag.extend(item.as_bytes());
            tag.resize(tag.len().next_multiple_of(4), 0);
        }
        csa.extend(tag);
    }
    csa
}

fn small_mosaic() -> Vec<u8> {
    with_csa(&small_csa())
}

fn image(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    let format = NiftiFormat {
        space: space(),
        repetition_time: repetition_time(),
        dtype: Dtype::Int16,
        slope: Some(0.5),
        intercept: Some(1.0),
    };
    let mut writer = NiftiWriter::create(&path, format).expect("a temporary file");
    (0..2).for_each(|n| writer.write(&[n; 12]).expect("a temporary file"));
    writer.finish().expect("a temporary file");
    std::fs::read(path).expect("a temporary file")
}

fn recording() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.mcap");
    let mut file = RecordingFile::open(&path).expect("a temporary file");
    let mut write = |topic, data: &[u8]| {
        file.write(topic, 1, data).expect("a temporary file");
        file.flush(false).expect("a temporary file");
    };
    write(SESSION, br#"{"name":"pilot"}"#);
    for message in messages() {
        write(WIRE, &pack(&message.to_frames(Encoding::MessagePack)));
    }
    write(COMMAND, br#"{"command":"pause"}"#);
    file.finish().expect("a temporary file");
    std::fs::read(path).expect("a temporary file")
}

/// A manifest in which every file has the SHA-256 of an empty one.
fn with_empty_files(manifest: &str) -> String {
    let text = std::fs::read_to_string(file(manifest)).expect("a manifest");
    let empty: String = Sha256::digest([]).iter().map(|byte| format!("{byte:02x}")).collect();
    let line = |line: &str| match line.split_once("sha256 = \"") {
        Some((before, rest)) if rest.len() > 64 => {
            format!("{before}sha256 = \"{empty}{}\n", &rest[64..])
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Names of the files in the manifests of the seeds.
#[must_use]
pub fn named_files() -> Vec<String> {
    let folders =
        ["tests/data/models/neurons-tiny", "tests/data/models/linear-3x4", "models/demo/video"];
    let entries =
        folders.into_iter().flat_map(|folder| std::fs::read_dir(file(folder)).expect("a model"));
    let names =
        entries.map(|entry| entry.expect("a model").file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.ends_with(".toml")).collect()
}

/// A stream of texts in two channels.
fn lsl_stream(order: &str) -> Vec<u8> {
    let header =
        format!("LSL/110 200 OK\r\nByte-Order: {order}\r\nData-Protocol-Version: 110\r\n\r\n");
    let sample = b"\x02\0\0\0\0\0\0\x04\x40\x01\x015\x01\x02go";
    [header.as_bytes(), &sample.repeat(4)].concat()
}
