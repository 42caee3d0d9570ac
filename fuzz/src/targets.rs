//! What is fuzzed: each target takes any bytes and must return, without a panic and soon.
//!
//! What a reader accepts must also survive: a message that was read is written and read again.

use std::{
    fmt::Debug,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;
use corticast::recording::{
    format::{self, unpack},
    reader,
};
use corticast_adapter::{afni, dicom, mrd, murfi, parrec, pyneal, store, trigger::lsl};
use corticast_bold::feedback::seal::{SealedAssignment, StudyKey};
use corticast_images::{events, nifti::reader::NiftiReader, timing};
use corticast_models::manifest::{self, Manifest, video};
use corticast_wire::{
    message::{FromAdapter, ToAdapter},
    work::{FromWorker, ToWorker},
};
use tempfile::TempDir;

use super::seeds;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// The targets and their names.
pub const TARGETS: [(&str, Target); 20] = [
    ("adapter", adapter),
    ("worker", worker),
    ("dicom", mosaic),
    ("csa", csa),
    ("nifti", nifti),
    ("recording", recording),
    ("manifest", manifest),
    ("video", video),
    ("events", event_table),
    ("sidecar", sidecar),
    ("assignment", assignment),
    ("afni", afni_commands),
    ("mrd", mrd_metadata),
    ("mrd-image", mrd_image),
    ("murfi", murfi_header),
    ("pyneal", pyneal_header),
    ("parrec", par),
    ("store", store_command),
    ("lsl-search", lsl_search),
    ("lsl-samples", lsl_samples),
];

/// Fails unless a value reads the same after it was written.
fn survives<T: Debug, E: Debug>(value: &T, again: Result<T, E>) {
    // The text, because a time that is no number differs from itself.
    assert_eq!(again.map(|again| format!("{again:?}")).ok(), Some(format!("{value:?}")));
}

/// Frames of a message between adapter and daemon, packed as in a recording.
fn adapter(bytes: &[u8]) {
    let Some(frames) = unpack(&Bytes::copy_from_slice(bytes)) else { return };
    if let Ok((message, encoding)) = FromAdapter::parse(&frames) {
        let again = FromAdapter::parse(&message.to_frames(encoding)).map(|(message, _)| message);
        survives(&message, again);
    }
    if let Ok(answer) = ToAdapter::parse(&frames) {
        for encoding in seeds::ENCODINGS {
            survives(&answer, ToAdapter::parse(&answer.to_frames(encoding)));
        }
    }
}

/// Frames of a message between daemon and worker.
fn worker(bytes: &[u8]) {
    let Some(frames) = unpack(&Bytes::copy_from_slice(bytes)) else { return };
    if let Ok(message) = FromWorker::parse(&frames) {
        survives(&message, FromWorker::parse(&message.to_frames()));
    }
    if let Ok(message) = ToWorker::parse(&frames) {
        survives(&message, ToWorker::parse(&message.to_frames()));
    }
}

/// A file that a scanner exported.
fn mosaic(bytes: &[u8]) {
    if let Ok((matrix, voxels)) = dicom::read_file(bytes) {
        let n_voxel = matrix.iter().product::<usize>();
        assert!([2 * n_voxel, 4 * n_voxel].contains(&voxels.len()));
        dicom::read_header(bytes).expect("a file whose pixels are read has a header");
    } else {
        dicom::read_header(bytes).ok();
    }
}

/// Siemens' own header, within an otherwise intact file.
fn csa(bytes: &[u8]) {
    dicom::read_file(&seeds::with_csa(bytes)).ok();
}

/// An image, compressed or not.
fn nifti(bytes: &[u8]) {
    let input = std::io::Cursor::new(bytes.to_vec());
    let Ok(mut image) = NiftiReader::read(input, bytes.len() as u64, Path::new("image.nii")) else {
        return;
    };
    let wire_bytes = image.header().stored.on_wire().size_bytes();
    let expected = image.header().space.n_voxel() * wire_bytes;
    while let Ok(Some(voxels)) = image.next_voxels() {
        assert_eq!(voxels.len(), expected);
    }
}

/// A file of a recording.
fn recording(bytes: &[u8]) {
    let Some((entries, _)) = reader::read_bytes(bytes) else { return };
    for entry in entries {
        if let (None, Some(frames)) = (entry.command(), entry.frames()) {
            assert!(entry.data.starts_with(&format::pack(&frames)));
            FromAdapter::parse(&frames).ok();
        }
    }
}

/// A sealed assignment to real or sham feedback, and a key.
fn assignment(bytes: &[u8]) {
    if let Ok(key) = StudyKey::from_hex(&String::from_utf8_lossy(bytes)) {
        assert!(seeds::sealed().open(&key, "01", "s", None).is_err(), "another key opens it");
    }
    let Ok(found) = serde_json::from_slice::<SealedAssignment>(bytes) else { return };
    let opened = found.open(&seeds::study_key(), &found.participant, "s", None);
    // Text of other digits may stand for the same bytes.
    let is_sealed = found.commitment.eq_ignore_ascii_case(&seeds::sealed().commitment);
    assert!(opened.is_err() || is_sealed, "an assignment opens that nobody sealed: {found:?}");
}

/// A folder with a manifest and the files that it may name, all empty.
struct Folder(Mutex<TempDir>);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in seeds::named_files() {
            std::fs::write(folder.path().join(name), "").expect("a temporary file");
        }
        Self(Mutex::new(folder))
    }

    fn with<T>(&self, manifest: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
        let folder = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::write(folder.path().join(manifest), bytes).expect("a temporary file");
        read(folder.path())
    }
}

/// `manifest.toml` of a model.
fn manifest(bytes: &[u8]) {
    static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
    let read = FOLDER.with(manifest::FILE_NAME, bytes, Manifest::read);
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
    }
}

/// `video.toml` of a set of networks that make clips.
fn video(bytes: &[u8]) {
    static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
    let read = FOLDER.with(video::FILE_NAME, bytes, video::VideoManifest::read);
    if let Err(error) = read {
        assert!(!error.to_string().is_empty());
    }
}

/// `events.tsv` of a BIDS dataset.
fn event_table(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(events) = events::parse(text)
    {
        assert!(events.iter().all(|e| e.onset_s.is_finite() && e.duration_s >= 0.0));
        assert!(events.is_sorted_by(|a, b| a.onset_s <= b.onset_s));
    }
}

/// The sidecar of a BIDS run, and what is made of its TR.
fn sidecar(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(Some(seconds)) = timing::repetition_time_in(text)
    {
        corticast_bold::time::RepetitionTime::from_secs(seconds).ok();
    }
}

/// Volumes that network adapters announce have at most so many bytes.
const MAX_ANNOUNCED_BYTES: usize = 128 << 20;

/// The commands of a sender of AFNI's protocol.
fn afni_commands(bytes: &[u8]) {
    if let Ok(matrix) = afni::read_commands(bytes) {
        assert!(matrix.iter().product::<usize>() <= MAX_ANNOUNCED_BYTES);
    }
}

/// The XML header of an MRD stream.
fn mrd_metadata(bytes: &[u8]) {
    if let Ok((Some(tr), _)) = mrd::read_metadata(&String::from_utf8_lossy(bytes)) {
        corticast_bold::time::RepetitionTime::from_secs(tr).expect("a TR that is passed on");
    }
}

/// The header of an MRD image.
fn mrd_image(bytes: &[u8]) {
    if let Ok(n_bytes) = mrd::read_image_header(bytes) {
        assert!(n_bytes <= MAX_ANNOUNCED_BYTES);
    }
}

/// The header of a volume of MURFI's protocol.
fn murfi_header(bytes: &[u8]) {
    if let Ok((matrix, n_bytes)) = murfi::read_header(bytes) {
        assert!(n_bytes >= 2 * matrix.iter().product::<usize>() && n_bytes <= MAX_ANNOUNCED_BYTES);
    }
}

/// The JSON header of a volume of pyneal's protocol.
fn pyneal_header(bytes: &[u8]) {
    if let Ok((matrix, n_bytes)) = pyneal::read_header(bytes) {
        assert!(n_bytes >= matrix.iter().product::<usize>() && n_bytes <= MAX_ANNOUNCED_BYTES);
    }
}

/// The text of a PAR file.
fn par(bytes: &[u8]) {
    if let Ok((matrix, n_volumes)) = parrec::read_par(bytes) {
        assert!(n_volumes > 0 && matrix.iter().all(|n| *n > 0));
    }
}

/// A command of the DICOM network.
fn store_command(bytes: &[u8]) {
    store::read_command(bytes).ok();
}

/// The description of an LSL stream.
fn lsl_search(bytes: &[u8]) {
    if let Ok(n_channel) = lsl::read_description(bytes) {
        assert!((1..=64).contains(&n_channel));
    }
}

/// The samples of an LSL stream, as text and as numbers.
fn lsl_samples(bytes: &[u8]) {
    for format in ["string", "int16", "double64"] {
        if let Ok(n) = lsl::read_samples(format, bytes) {
            assert!(n <= bytes.len());
        }
    }
}
