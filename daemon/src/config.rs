//! Configuration: one TOML file, overlaid by environment variables, overlaid by flags.
//!
//! Each section that needs checks has two types: one for the written form, and one for the checked
//! values, which can only be made from the first. Checked values are not checked again. An unknown
//! key is refused with its line and column, so that a typing error is found before the participant
//! is in the scanner.
//!
//! - Environment: `CORTICAST_<SECTION>__<KEY>`, e.g. `CORTICAST_SIGNAL__HRF_DELAY_S=4.5`.
//! - Flags: `--set section.key=value`, and dedicated flags such as `--record`.
//!
//! Paths in the file are relative to the file; paths in the environment and in flags are
//! relative to the working directory.

pub mod decoder;
pub mod generator;
pub mod model;
pub mod normalise;
pub mod outputs;
pub mod quality;
pub mod recording;
pub mod session;
pub mod signal;
pub mod sinks;
pub mod stages;
pub mod wire;

use std::path::{Path, PathBuf};

use corticast_bold::feedback::options::FeedbackOptions;
use corticast_wire::files;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use self::{
    decoder::DecoderConfig, generator::GeneratorConfig, model::ModelConfig,
    normalise::NormaliseConfig, outputs::OutputsConfig, quality::QualityConfig,
    recording::RecordingConfig, session::SessionConfig, signal::SignalConfig, sinks::SinksConfig,
    wire::WireConfig,
};

/// Prefix of environment variables that set configuration keys.
const ENVIRONMENT_PREFIX: &str = "CORTICAST_";

/// Longest configuration that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Keys that hold paths, as `section.key`; `*` is every entry of a table or list.
const PATH_KEYS: &[&str] = &[
    "signal.mask",
    "slice_timing.sidecar",
    "realign.image",
    "realign.model_image",
    "denoise.nuisance.*",
    "denoise.design",
    "feedback.events",
    "feedback.source.target",
    "feedback.source.decoder",
    "feedback.rois.*",
    "feedback.sham.assignment",
    "feedback.sham.key",
    "feedback.sham.scores",
    "model.dir",
    "generator.dir",
    "outputs.film",
    "outputs.webp",
    "outputs.png",
    "outputs.report",
    "sinks.rtcloud.folder",
    "recording.file",
    "recording.results",
    "wire.key",
    "wire.runtime_dir",
    "wire.adapter_allow",
    "wire.allow",
    "wire.worker_allow",
    "wire.control_allow",
];

/// Makes the paths at a key of [`PATH_KEYS`] relative to a folder.
fn relative_to(folder: &Path, key: &str, value: &mut Value) {
    let Some((first, rest)) = key.split_once('.').or((!key.is_empty()).then_some((key, ""))) else {
        if let Value::String(path) = value {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
        return;
    };
    match value {
        Value::Table(table) if first == "*" => {
            table.iter_mut().for_each(|(_, value)| relative_to(folder, rest, value));
        }
        Value::Table(table) => {
            if let Some(value) = table.get_mut(first) {
                relative_to(folder, rest, value);
            }
        }
        Value::Array(values) if first == "*" => {
            values.iter_mut().for_each(|value| relative_to(folder, rest, value));
        }
        _ => {}
    }
}

/// Calls `found` with each path at a key of [`PATH_KEYS`].
fn each_path(key: &str, value: &Value, found: &mut dyn FnMut(&str)) {
    let Some((first, rest)) = key.split_once('.').or((!key.is_empty()).then_some((key, ""))) else {
        value.as_str().into_iter().for_each(found);
        return;
    };
    match value {
        Value::Table(table) if first == "*" => {
            table.values().for_each(|value| each_path(rest, value, found));
        }
        Value::Table(table) => {
            table.get(first).into_iter().for_each(|value| each_path(rest, value, found));
        }
        Value::Array(values) if first == "*" => {
            values.iter().for_each(|value| each_path(rest, value, found));
        }
        _ => {}
    }
}

/// The configuration of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[session]`
    pub session: SessionConfig,
    /// `[wire]`
    pub wire: WireConfig,
    /// `[signal]`
    pub signal: SignalConfig,
    /// `[slice_timing]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice_timing: Option<stages::SliceTimingConfig>,
    /// `[realign]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realign: Option<stages::RealignConfig>,
    /// `[smooth]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smooth: Option<stages::SmoothConfig>,
    /// `[denoise]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoise: Option<stages::DenoiseConfig>,
    /// `[quality]`
    pub quality: QualityConfig,
    /// `[normalise]`
    pub normalise: NormaliseConfig,
    /// `[feedback]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<FeedbackOptions>,
    /// `[model]`
    pub model: ModelConfig,
    /// `[decoder]`
    pub decoder: DecoderConfig,
    /// `[generator]`
    pub generator: GeneratorConfig,
    /// `[outputs]`
    pub outputs: OutputsConfig,
    /// `[sinks]`
    pub sinks: SinksConfig,
    /// `[recording]`
    pub recording: RecordingConfig,
}

/// Why a configuration is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file holds an invalid key or value.
    #[error("{path}: {reason}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Line, column, what was found and what was expected.
        reason: String,
    },
    /// A variable or a flag holds an invalid key or value.
    #[error("{origin}: {reason}")]
    Overlay {
        /// Name of the variable or flag.
        origin: String,
        /// What was found and what was expected.
        reason: String,
    },
}

/// One `section.key = value` from outside the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// Name of the variable or flag, for errors.
    pub origin: String,
    /// Section of the file.
    pub section: String,
    /// Key in that section.
    pub key: String,
    /// Value of the key.
    pub value: Value,
    /// The value as it was written, for keys that are text.
    pub text: String,
}

impl Overlay {
    /// From the text of the environment or `--set`: a TOML value, or else a string.
    #[must_use]
    pub fn from_text(origin: &str, section: &str, key: &str, text: &str) -> Self {
        let value = text.parse::<Value>().ok();
        // A bare word is a string, and so is text that TOML would read as a date.
        let value = value
            .filter(|v| !matches!(v, Value::Datetime(_)))
            .unwrap_or_else(|| Value::String(text.to_owned()));
        let (origin, section, key) = (origin.into(), section.into(), key.into());
        Self { origin, section, key, value, text: text.to_owned() }
    }

    /// From the argument of `--set`.
    ///
    /// # Errors
    ///
    /// Fails unless the argument has the form `section.key=value`.
    pub fn from_flag(argument: &str) -> Result<Self, String> {
        argument
            .split_once('=')
            .and_then(|(name, value)| Some((name.split_once('.')?, value)))
            .map(|((section, key), value)| {
                Self::from_text(&format!("--set {argument}"), section.trim(), key.trim(), value)
            })
            .ok_or_else(|| format!("expected section.key=value, got {argument:?}"))
    }

    /// From a flag with a path as its value.
    #[must_use]
    pub fn from_path(origin: &str, section: &str, key: &str, path: &Path) -> Self {
        let text = path.to_string_lossy().into_owned();
        let (origin, section, key) = (origin.into(), section.into(), key.into());
        Self { origin, section, key, value: Value::String(text.clone()), text }
    }
}

/// The overlays of the environment, in the order of the variables' names.
#[must_use]
pub fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Overlay> {
    let mut overlays: Vec<Overlay> = variables
        .filter_map(|(name, value)| {
            let (section, key) = name.strip_prefix(ENVIRONMENT_PREFIX)?.split_once("__")?;
            let (section, key) = (section.to_lowercase(), key.to_lowercase().replace("__", "."));
            Some(Overlay::from_text(&name, &section, &key, &value))
        })
        .collect();
    overlays.sort_by(|a, b| a.origin.cmp(&b.origin));
    overlays
}

impl Overlay {
    /// Sets the key in a written configuration and reads the result. The key stays set when the
    /// result is invalid, because the next overlay may make it valid.
    fn lay_over(&self, table: &mut Table) -> Result<Config, ConfigError> {
        let mut set = |value: Value| {
            let section =
                table.entry(self.section.clone()).or_insert_with(|| Value::Table(Table::new()));
            let (tables, key) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
            let inner = tables.split('.').filter(|name| !name.is_empty()).try_fold(
                section,
                |table, name| match table {
                    Value::Table(table) => {
                        Some(table.entry(name).or_insert_with(|| Value::Table(Table::new())))
                    }
                    _ => None,
                },
            );
            if let Some(Value::Table(inner)) = inner {
                inner.insert(key.to_owned(), value);
            }
            table.clone().try_into::<Config>()
        };
        let failed = |error: toml::de::Error| ConfigError::Overlay {
            origin: self.origin.clone(),
            reason: plain(error.message()),
        };
        let error = match set(self.value.clone()) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        // A text key may have a value that looks like another one, as in `ses = 01` or `name = 7`.
        if matches!(self.value, Value::Integer(_) | Value::Float(_) | Value::Table(_))
            && let Ok(config) = set(Value::String(self.text.clone()))
        {
            return Ok(config);
        }
        set(self.value.clone()).map_err(|_| failed(error))
    }
}

/// A message of the reader in the words of a configuration.
fn plain(message: &str) -> String {
    message
        .replace("invalid type: unit variant, expected string only", WORD_EXPECTED)
        .replace("wanted string or table", WORD_EXPECTED)
        .replace("invalid socket address syntax", ADDRESS_EXPECTED)
        .replace("invalid IP address syntax", "expected an IP address such as 127.0.0.1")
        .replace("invalid IPv4 address syntax", "expected an IPv4 address such as 127.0.0.1")
}

const WORD_EXPECTED: &str = "expected a word in quotes";
const ADDRESS_EXPECTED: &str = "expected an IP address and a port such as 127.0.0.1:5000; names \
                                such as localhost are not looked up";

impl Config {
    /// Reads a file and lays the overlays over it, later ones over earlier ones.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, or on the first invalid key or value, with its place.
    pub fn load(path: &Path, overlays: &[Overlay]) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = files::read_text(path, MAX_CONFIG_BYTES).map_err(failed)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        Self::from_text(&text, path, folder, overlays)
    }

    /// The files and folders that a session reads because the configuration names them, each with its
    /// key.
    #[must_use]
    pub fn inputs(&self) -> Vec<(String, PathBuf)> {
        let written = Table::try_from(self).map(Value::Table);
        let written = written.expect("a configuration is a table");
        let is_input = |key: &str| {
            !["outputs.", "recording.", "sinks.", "wire.runtime_dir"]
                .iter()
                .any(|output| key.starts_with(output))
        };
        let mut inputs = Vec::new();
        for key in PATH_KEYS.iter().filter(|key| is_input(key)) {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let name = name.trim_end_matches(".*");
            each_path(key, &written, &mut |path| {
                inputs.push((format!("`{name}` in [{section}]"), PathBuf::from(path)));
            });
        }
        inputs
    }

    /// As [`Config::load`], from text. `path` is for errors, `folder` for relative paths.
    ///
    /// # Errors
    ///
    /// Fails when [`Config::load`] would.
    pub fn from_text(
        text: &str,
        path: &Path,
        folder: &Path,
        overlays: &[Overlay],
    ) -> Result<Self, ConfigError> {
        let in_file = |error: toml::de::Error| ConfigError::File {
            path: path.to_owned(),
            reason: plain(error.to_string().trim_end()),
        };
        // First for errors with line and column, then as a table for the overlays.
        toml::from_str::<Self>(text).map_err(in_file)?;
        let mut written = Value::Table(toml::from_str(text).map_err(in_file)?);
        PATH_KEYS.iter().for_each(|key| relative_to(folder, key, &mut written));
        let Value::Table(mut table) = written else { unreachable!("it was made as a table") };
        let mut config: Self = table.clone().try_into().map_err(in_file)?;
        // Keys that need each other are set one by one, so only an error that remains after the
        // last overlay counts. The first overlay that caused it is reported.
        let mut wrong = None;
        for overlay in overlays {
            match overlay.lay_over(&mut table) {
                Ok(laid) => (config, wrong) = (laid, None),
                Err(error) => {
                    wrong.get_or_insert(error);
                }
            }
        }
        match wrong {
            Some(error) => Err(error),
            None => Ok(Self { wire: config.wire.in_runtime_dir(), ..config }),
        }
    }

    /// The configuration as the text of a file, with every key written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is made of tables and plain values")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overlays: &[Overlay]) -> Result<Config, ConfigError> {
        Config::from_text(text, Path::new("site.toml"), Path::new("/etc/corticast"), overlays)
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_column() {
        let text = "[signal]\nmask = \"m.nii\"\nhrf_delay_ms = 4000\n";
        let message = load(text, &[]).unwrap_err().to_string();
        assert!(message.contains("site.toml"), "{message}");
        assert!(message.contains("line 3, column 1"), "{message}");
        assert!(message.contains("hrf_delay_ms") && message.contains("hrf_delay_s"), "{message}");
    }

    #[test]
    fn a_value_out_of_range_names_its_key() {
        let message = load("[signal]\nhrf_delay_s = 4000.0\n", &[]).unwrap_err().to_string();
        assert!(message.contains("hrf_delay_s") && message.contains("4000"), "{message}");
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let text = "[signal]\nhrf_delay_s = 1.0\nwindow_volumes = 2\ndiscard_volumes = 3\n";
        let environment = [
            ("CORTICAST_SIGNAL__HRF_DELAY_S".to_owned(), "2".to_owned()),
            ("CORTICAST_SIGNAL__WINDOW_VOLUMES".to_owned(), "4".to_owned()),
            ("CORTICAST_ONNXRUNTIME".to_owned(), "/x.so".to_owned()),
        ];
        let mut overlays = from_environment(environment.into_iter());
        overlays.push(Overlay::from_flag("signal.hrf_delay_s=3.5").unwrap());
        let signal = load(text, &overlays).unwrap().signal;
        assert_eq!(signal.hrf_delay_s, Some(3.5));
        assert_eq!(signal.window_volumes.map(std::num::NonZeroUsize::get), Some(4));
        assert_eq!(signal.discard_volumes, 3);
    }

    #[test]
    fn keys_that_need_each_other_may_come_in_any_order() {
        let flag = |text| Overlay::from_flag(text).unwrap();
        let mode = flag("generator.mode=live");
        let dir = flag("generator.dir=video");
        assert!(load("", &[mode.clone(), dir.clone()]).is_ok());
        assert!(load("", &[dir, mode.clone()]).is_ok());
        let message = load("", &[mode, flag("generator.seed=3")]).unwrap_err().to_string();
        assert!(message.contains("--set generator.mode=live: `mode` is \"live\""), "{message}");
    }

    #[test]
    fn an_unknown_variable_is_refused_by_its_name() {
        let environment = [("CORTICAST_SIGNAL__DELAY".to_owned(), "2".to_owned())];
        let message = load("", &from_environment(environment.into_iter())).unwrap_err().to_string();
        assert!(message.contains("CORTICAST_SIGNAL__DELAY"), "{message}");
    }

    #[test]
    fn paths_in_the_file_are_relative_to_the_file() {
        let config = load("[signal]\nmask = \"masks/v1.nii\"\n", &[]).unwrap();
        let expected = Path::new("/etc/corticast/masks/v1.nii");
        assert_eq!(config.signal.mask.as_deref(), Some(expected));
    }

    #[test]
    fn a_table_in_a_section_is_set_by_its_dotted_name() {
        let text = "[sinks.rtcloud]\nfolder = \"out\"\n";
        let environment = [("CORTICAST_SINKS__RTCLOUD__VALUE".to_owned(), "dvars".to_owned())];
        let mut overlays = from_environment(environment.into_iter());
        overlays.push(Overlay::from_flag("sinks.afni.connect=127.0.0.1:1").unwrap());
        let sinks = load(text, &overlays).unwrap().sinks;
        let rtcloud = sinks.rtcloud.as_ref().unwrap();
        assert_eq!(rtcloud.folder, Path::new("/etc/corticast/out"));
        assert_eq!(rtcloud.value, sinks::ValueChoice::Dvars);
        assert!(sinks.afni.is_some() && sinks.lsl.is_none());
    }

    #[test]
    fn a_flag_may_hold_a_table() {
        let flag = |text| Overlay::from_flag(text).unwrap();
        let overlays = [
            flag("feedback.events=e.tsv"),
            flag("feedback.rois={ffa = \"f.nii\", ppa = \"p.nii\"}"),
            flag("feedback.source={kind = \"roi_difference\", plus = \"ffa\", minus = \"ppa\"}"),
            // A key that is text stays as it was written.
            flag("session.name={a = 1}"),
            flag("recording.file=1.50"),
        ];
        let config = load("", &overlays).unwrap();
        let rois = &config.feedback.as_ref().unwrap().rois;
        assert_eq!(rois["ppa"], Path::new("p.nii"));
        assert_eq!(config.session.name, "{a = 1}");
        assert_eq!(config.recording.file.as_deref(), Some(Path::new("1.50")));
    }

    #[test]
    fn a_word_or_an_address_of_the_wrong_form_is_told_the_right_one() {
        for (text, flag, expected) in [
            ("[denoise]\nmotion = 12\n", "denoise.motion=12", "word in quotes"),
            ("[normalise]\nmode = 3\n", "normalise.mode=3", "word in quotes"),
            ("[realign]\nreference = 1.5\n", "realign.reference=1.5", "word in quotes"),
            ("[wire]\nhttp = \"localhost:5\"\n", "wire.http=localhost:5", "127.0.0.1:5000"),
            (
                "[sinks.afni]\nconnect = \"localhost:5000\"\n",
                "sinks.afni.connect=localhost:5000",
                "IP address and a port",
            ),
            (
                "[sinks.lsl]\nname = \"a\"\nlisten = \"x\"\n",
                "sinks.lsl={name=\"a\",listen=\"x\"}",
                "IP address",
            ),
        ] {
            for message in [
                load(text, &[]).unwrap_err().to_string(),
                load("", &[Overlay::from_flag(flag).unwrap()]).unwrap_err().to_string(),
            ] {
                assert!(message.contains(expected), "{message}");
                assert!(!message.contains("unit variant"), "{message}");
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let config =
            load("[signal]\nhrf_delay_s = 2.0\n[wire]\nadapter = \"tcp://127.0.0.1:0\"\n", &[]);
        let config = config.unwrap();
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }
}
