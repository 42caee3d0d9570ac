//! The binaries as processes, which are always stopped at the end.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::root;

/// How long a process may take to start or to end in order.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a process is polled for its end.
const TICK: Duration = Duration::from_millis(2);

/// A release binary.
pub fn binary(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// A process that is killed when this value is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; its standard error goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = fs::File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits for the process to end with success.
    pub async fn wait(mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "process ended with {status}; log:\n{}", self.said());
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("process did not end within {limit:?}; log:\n{}", self.said());
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Sends SIGTERM and waits for the process to end.
    pub async fn stop(self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has a number")?, Signal::TERM)?;
        self.wait(PATIENCE).await
    }

    /// A size from `/proc/PID/status`, e.g. `VmRSS`, in bytes.
    pub fn memory_bytes(&self, key: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(key)).context("no such key")?;
        let kib = line.split_whitespace().nth(1).context("no value")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the process has already ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A daemon with its endpoints.
pub struct Daemon {
    pub process: Process,
    /// The file written by `--endpoints`.
    endpoints: serde_json::Value,
}

/// Options of a daemon that differ between the figures.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// Folder of the model in `tests/data/models`, which also holds its mask.
    pub model: &'static str,
    /// Whether the model is a copy with the default normalisation, `growing`, instead of none.
    pub grows: bool,
    /// Where to record.
    pub record: Option<PathBuf>,
    /// A configuration instead of one for `model`.
    pub config: Option<PathBuf>,
    /// Values of `--set`.
    pub set: Vec<String>,
    /// Key of the daemon and folder of allowed keys.
    pub curve: Option<(PathBuf, PathBuf)>,
}

/// A configuration for a model, written into `folder`.
pub fn config(folder: &Path, options: &DaemonOptions) -> anyhow::Result<PathBuf> {
    let mut model = root().join("tests/data/models").join(options.model);
    if options.grows {
        model = growing(&model, folder)?;
    }
    let mut text = String::from(
        "[wire]\nadapter = \"tcp://127.0.0.1:0\"\npublish = \"tcp://127.0.0.1:0\"\n\
         query = \"tcp://127.0.0.1:0\"\ncontrol = \"tcp://127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n",
    );
    if let Some((key, allow)) = &options.curve {
        text += &format!("key = {key:?}\nadapter_allow = {allow:?}\nallow = {allow:?}\n");
    }
    text += &format!(
        "[signal]\nmask = {:?}\n[model]\ndir = {model:?}\ndevice = \"cpu\"\n",
        model.join("mask.nii.gz")
    );
    let path = folder.join("bench.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// A copy of a model with normalisation `growing`, in `folder`.
fn growing(model: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let copy = folder.join("growing");
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(model)? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    let manifest = copy.join("manifest.toml");
    let text = fs::read_to_string(&manifest)?;
    ensure!(text.contains("mode = \"none\""), "the model is normalised already");
    fs::write(&manifest, text.replace("mode = \"none\"", "mode = \"growing\""))?;
    Ok(copy)
}

impl Daemon {
    /// Starts `corticast run` and waits until its sockets are bound.
    pub async fn start(folder: &Path, options: &DaemonOptions) -> anyhow::Result<Self> {
        let file = folder.join("endpoints.json");
        if file.exists() {
            fs::remove_file(&file)?;
        }
        let mut command = Command::new(binary("corticast"));
        let config = match &options.config {
            Some(config) => config.clone(),
            None => config(folder, options)?,
        };
        command.arg("run").arg("--config").arg(config);
        for set in &options.set {
            command.arg("--set").arg(set);
        }
        command.arg("--endpoints").arg(&file);
        if let Some(record) = &options.record {
            command.arg("--record").arg(record);
        }
        let process = Process::start(&mut command, &folder.join("daemon.log"))?;
        let deadline = Instant::now() + PATIENCE;
        while !file.exists() {
            ensure!(Instant::now() < deadline, "no daemon; its log:\n{}", process.said());
            tokio::time::sleep(TICK).await;
        }
        let endpoints = serde_json::from_slice(&fs::read(&file)?)?;
        Ok(Self { process, endpoints })
    }

    /// One of its endpoints.
    pub fn endpoint(&self, name: &str) -> anyhow::Result<&str> {
        self.endpoints[name].as_str().with_context(|| format!("no endpoint {name}"))
    }

    /// Mean of a histogram in `/metrics`, in microseconds. `labels` as they are written there.
    pub fn mean_us(&self, histogram: &str, labels: &str) -> anyhow::Result<f64> {
        let text = self.metrics()?;
        let value = |suffix: &str| value_of(&text, &format!("{histogram}_{suffix}{labels}"));
        Ok(1e6 * value("sum")? / value("count")?)
    }

    /// A counter in `/metrics`.
    pub fn counter(&self, name: &str) -> anyhow::Result<f64> {
        value_of(&self.metrics()?, name)
    }

    fn metrics(&self) -> anyhow::Result<String> {
        let address = self.endpoint("http")?.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

fn value_of(metrics: &str, name: &str) -> anyhow::Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in /metrics"))?.parse()?)
}
