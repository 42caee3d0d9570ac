//! A folder for one test: a simulated scan as a file, a mask, a model and a configuration.

use std::{
    fs,
    path::{Path, PathBuf},
};

use corticast_adapter::{
    session_state::{SessionKey, SessionState},
    synthetic::{SyntheticOptions, SyntheticScanner, write::write_runs},
};
use corticast_bold::{decode::Dtype, run::RunHeader, space::VoxelSpace, time::RepetitionTime};
use corticast_images::{
    acquired::AcquiredVolume,
    nifti::{format::NiftiFormat, write::write_3d},
    source::ScannerAdapter,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Classes of the model.
pub const CLASSES: [&str; 3] = ["bottle", "cat", "chair"];

/// Output of the model for four z-scores, computed by hand: `softmax(bold · W)` with weights ln 2
/// from voxel 0, 1, 2 to class 0, 1, 2 and ln 8 from voxel 3 to class 0
/// (`tests/data/models/README.md`).
#[must_use]
pub fn probabilities(bold: [f32; 4]) -> [f64; 3] {
    let [a, b, c, d] = bold.map(f64::from);
    let powers = [(a + 3.0 * d).exp2(), b.exp2(), c.exp2()];
    let sum: f64 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// A temporary folder with everything a session needs. See the module docs.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    scan: SyntheticOptions,
    shift: &'static str,
    hrf_delay_s: f64,
}

impl Site {
    /// A scan of `volumes` volumes of 8x8x6, TR 1 s, normalised by a growing z-score, with a
    /// delay of 4.25 s, which is not a multiple of the TR.
    #[must_use]
    pub fn new(volumes: u32) -> Self {
        Self::with_shift(volumes, "nearest")
    }

    /// Like [`Site::new`], with another `shift`, for example interpolation to the stimulus time.
    #[must_use]
    pub fn with_shift(volumes: u32, shift: &'static str) -> Self {
        Self::with_matrix(volumes, shift, [8, 8, 6])
    }

    /// Like [`Site::with_shift`], with another matrix.
    #[must_use]
    pub fn with_matrix(volumes: u32, shift: &'static str, matrix: [usize; 3]) -> Self {
        Self::with_scan(SyntheticOptions { volumes, matrix, ..SyntheticOptions::default() }, shift)
    }

    /// Like [`Site::with_shift`], with another scan.
    #[must_use]
    pub fn with_scan(scan: SyntheticOptions, shift: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = Self { folder, scan, shift, hrf_delay_s: 4.25 };
        write_runs(&site.scan, site.folder.path(), 1).expect("a scan as a file");
        let scanner = site.scanner();
        let brain = scanner.mask();
        let chosen = [0, 1, 2, 3].map(|at| brain[at * (brain.len() - 1) / 3]);
        site.model_on(&scanner.brain().space, &chosen, site.scan.tr);
        site.configure("");
        site
    }

    /// A site for scans from another source, with a model of four voxels (x, y, z) of that space.
    #[must_use]
    pub fn for_space(space: &VoxelSpace, voxels: [[usize; 3]; 4], tr_s: f64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scan = SyntheticOptions::default();
        let site = Self { folder, scan, shift: "nearest", hrf_delay_s: 0.0 };
        let [_, ny, nz] = space.matrix();
        let chosen = voxels.map(|[x, y, z]| ((x * ny + y) * nz + z) as u32);
        site.model_on(space, &chosen, tr_s);
        site.configure("");
        site
    }

    /// Mask and model for four voxels, given by `(x·ny + y)·nz + z`.
    fn model_on(&self, space: &VoxelSpace, voxels: &[u32; 4], tr_s: f64) {
        let [nx, ny, nz] = space.matrix();
        let mut inside = vec![0_u8; 2 * space.n_voxel()];
        for &voxel in voxels {
            let voxel = voxel as usize;
            let (x, y, z) = (voxel / (ny * nz), voxel / nz % ny, voxel % nz);
            inside[2 * (x + nx * (y + ny * z))] = 1;
        }
        let format = NiftiFormat {
            space: space.clone(),
            repetition_time: RepetitionTime::from_secs(tr_s).expect("a TR"),
            dtype: Dtype::Int16,
            slope: None,
            intercept: None,
        };
        write_3d(&self.path("four.nii.gz"), format, &inside).expect("a mask");
        let mask = corticast::plan::mask_file::read(&self.path("four.nii.gz"))
            .expect("the mask we wrote")
            .mask;

        let shipped = crate::repository("tests/data/models/linear-3x4");
        fs::create_dir_all(self.path("model")).expect("a folder");
        let network = "decoder.onnx";
        fs::copy(shipped.join(network), self.path("model").join(network)).expect("the network");
        let text = fs::read_to_string(shipped.join("manifest.toml")).expect("the manifest");
        let mut manifest: toml::Table = text.parse().expect("a manifest");
        let section = |pairs: &[(&str, toml::Value)]| {
            toml::Value::Table(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
        };
        let affine: Vec<toml::Value> =
            space.affine().iter().map(|row| row.to_vec().into()).collect();
        let matrix: Vec<i64> = space.matrix().iter().map(|&n| n as i64).collect();
        let mask = section(&[
            ("hash", mask.hash().into()),
            ("n_voxel", 4.into()),
            ("matrix", matrix.into()),
            ("affine", affine.into()),
        ]);
        let signal = section(&[
            ("repetition_time_s", tr_s.into()),
            ("hrf_delay_s", self.hrf_delay_s.into()),
            ("shift", self.shift.into()),
            ("window_volumes", 1.into()),
        ]);
        let normalise = section(&[("mode", "growing".into()), ("warm_up_volumes", 3.into())]);
        for (name, value) in [("mask", mask), ("signal", signal), ("normalise", normalise)] {
            manifest.insert(name.to_owned(), value);
        }
        self.write_manifest(&manifest);
    }

    /// Replaces the site's model with one from `tests/data/models`. Its manifest gets the site's
    /// mask, timing and normalisation.
    pub fn use_model(&self, name: &str) {
        let shipped = crate::repository("tests/data/models").join(name);
        for entry in fs::read_dir(&shipped).expect("a model") {
            let entry = entry.expect("a file");
            if entry.file_name() != "manifest.toml" {
                let to = self.path("model").join(entry.file_name());
                fs::copy(entry.path(), to).expect("a copy");
            }
        }
        let text = fs::read_to_string(shipped.join("manifest.toml")).expect("the manifest");
        let mut theirs: toml::Table = text.parse().expect("a manifest");
        self.edit_manifest(|manifest| {
            for key in ["mask", "signal", "normalise"] {
                theirs.insert(key.to_owned(), manifest[key].clone());
            }
            *manifest = theirs;
        });
    }

    /// Replaces the file of one of the model's networks, and its hash in the manifest.
    pub fn replace_network(&self, role: &str, with: &Path) {
        let onnx = fs::read(with).expect("a network");
        let sha256: String = Sha256::digest(&onnx).iter().map(|b| format!("{b:02x}")).collect();
        fs::write(self.path("model/replaced.onnx"), onnx).expect("a copy");
        self.edit_manifest(|manifest| {
            let networks = manifest["network"].as_array_mut().expect("networks");
            let network = networks.iter_mut().find(|n| n["role"].as_str() == Some(role));
            let network = network.and_then(toml::Value::as_table_mut).expect("the role");
            network.insert("file".into(), "replaced.onnx".into());
            network.insert("sha256".into(), sha256.into());
        });
    }

    fn write_manifest(&self, manifest: &toml::Table) {
        fs::write(self.path("model/manifest.toml"), manifest.to_string()).expect("a manifest");
    }

    /// Changes the model's manifest.
    pub fn edit_manifest(&self, edit: impl FnOnce(&mut toml::Table)) {
        let text = fs::read_to_string(self.path("model/manifest.toml")).expect("the manifest");
        let mut manifest: toml::Table = text.parse().expect("a manifest");
        edit(&mut manifest);
        self.write_manifest(&manifest);
    }

    /// Writes the configuration, with more lines in `[signal]`.
    pub fn configure(&self, signal: &str) {
        let (shift, hrf_delay_s) = (self.shift, self.hrf_delay_s);
        let text = format!(
            r#"[wire]
adapter = "tcp://127.0.0.1:0"
publish = "tcp://127.0.0.1:0"
query = "tcp://127.0.0.1:0"
control = "tcp://127.0.0.1:0"
http = "127.0.0.1:0"

[model]
dir = "model"
device = "cpu"

[normalise]
mode = "growing"
warm_up_volumes = 3

[signal]
mask = "four.nii.gz"
hrf_delay_s = {hrf_delay_s:?}
shift = "{shift}"
window_volumes = 1
{signal}
"#
        );
        fs::write(self.config(), text).expect("a configuration");
    }

    /// A file in the site's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The site's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("site.toml")
    }

    /// The scan as a file, with its events beside it.
    #[must_use]
    pub fn bold(&self) -> PathBuf {
        self.path("sub-demo_task-shapes_run-1_bold.nii.gz")
    }

    /// The name of the scan's run.
    #[must_use]
    pub fn run_name(&self) -> &'static str {
        "sub-demo_task-shapes_run-1"
    }

    /// A simulated scanner in this process that acquires the scan.
    #[must_use]
    pub fn scanner(&self) -> SyntheticScanner {
        SyntheticScanner::open(self.scan.clone()).expect("a scanner")
    }

    /// The id under which this site's adapter sends a series of the simulated scanner.
    fn sent_series_id(&self, series: &str) -> String {
        let (session, sub) = (&self.scan.session, &self.scan.sub);
        let ses = self.scan.ses.as_deref().unwrap_or("");
        let labels = [session, sub, ses, "", "", ""];
        let key = SessionKey { kind: "synthetic", place: Path::new(""), labels };
        let folder = self.path("state/corticast-adapter");
        SessionState::of_session(&folder, key).expect("a state").series_id(series)
    }

    /// The run header, as the adapter would send it, and all volumes of the scan.
    #[must_use]
    pub fn acquire(&self) -> (RunHeader, Vec<AcquiredVolume>) {
        let mut scanner = self.scanner();
        let mut header = scanner.start_run().expect("a run").expect("one run");
        header.series_id = self.sent_series_id(&header.series_id);
        let volumes = std::iter::from_fn(|| scanner.next_volume().expect("a volume"));
        (header, volumes.collect())
    }

    /// The flags with which `corticast-adapter synthetic` sends this scan.
    #[must_use]
    pub fn scan_flags(&self) -> Vec<String> {
        let [nx, ny, nz] = self.scan.matrix;
        let SyntheticOptions { volumes, seed, tr, .. } = self.scan;
        let SyntheticOptions { contrast_percent, noise_percent, motion_mm, .. } = self.scan;
        let flags = format!(
            "synthetic --matrix {nx}x{ny}x{nz} --volumes {volumes} --seed {seed} --tr {tr} \
             --contrast-percent {contrast_percent} --noise-percent {noise_percent} \
             --motion-mm {motion_mm}"
        );
        flags.split(' ').map(str::to_owned).collect()
    }
}
