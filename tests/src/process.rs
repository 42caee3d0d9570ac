//! The real binaries as processes. Each logs to a file of the site, which a failed test prints. A
//! process is killed when its value is dropped.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use corticast_wire::socket::ClientSecurity;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Site, Talk, Watch, http_get, wait_for};

/// The path of one of our binaries, built beside the running test.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/*/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} does not exist: run `make test`, or `cargo build --release -p corticast -p \
         corticast-adapter` first",
        path.display()
    );
    path
}

/// How a process ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard error.
    pub log: String,
    /// Standard output.
    pub output: String,
}

impl Finished {
    /// Checks the exit code, and that the log contains all of `words`.
    #[must_use = "drop it if nothing else is checked"]
    pub fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "log: {}", self.log);
        for word in words {
            assert!(self.log.contains(word), "{word:?} is not in the log: {}", self.log);
        }
        self
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    output: PathBuf,
}

impl Process {
    /// Starts a command; its log goes into a new file of the site.
    #[must_use]
    pub fn start(site: &Site, mut command: Command) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (log, output) =
            (site.path(&format!("{number}.log")), site.path(&format!("{number}.out")));
        let create = |path: &Path| File::create(path).expect("a file in the site's folder");
        command.stdin(Stdio::null()).stderr(create(&log)).stdout(create(&output));
        command.env("RUST_LOG", "info,ort=warn").current_dir(site.folder());
        // The adapter's state does not leave the site.
        command.env("XDG_STATE_HOME", site.path("state"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log, output }
    }

    /// Standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("its log")).into_owned()
    }

    /// Standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).expect("its output")).into_owned()
    }

    /// Where an adapter listens for `what`, from its log.
    #[must_use]
    pub fn listens(&self, what: &str) -> String {
        let words = format!("listening for {what} address=");
        wait_for(&words, || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(&words))?;
            let address = line.split("address=").nth(1)?.trim();
            Some(address.trim_matches('"').trim_start_matches("tcp://").to_owned())
        })
    }

    /// Bytes that the process has read from files and sockets.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        let path = format!("/proc/{}/io", self.child.id());
        let text = std::fs::read_to_string(path).expect("the process runs");
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        read.and_then(|bytes| bytes.trim().parse().ok()).expect("a number of bytes")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is ours");
    }

    /// Kills the process with SIGKILL, and waits until it has ended.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_some()
    }

    /// Waits for the process to end.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let log = self.log.clone();
        let status =
            wait_for(&format!("the end of the process with log {}", log.display()), || {
                self.child.try_wait().expect("the process is ours")
            });
        Finished { code: status.code(), log: self.log(), output: self.output() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("---- log of process {}\n{}", self.child.id(), self.log());
        }
    }
}

/// `--set` flags with which a daemon listens at a loopback address that no other process uses. On
/// 127.0.0.1 the system may give the port of a killed daemon to another process at once.
#[must_use]
pub fn own_address() -> Vec<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    // On Linux all of 127.0.0.0/8 is this machine. Process numbers have 22 bits.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) & 3;
    let [_, a, b, c] = ((std::process::id() << 2) | number).to_be_bytes();
    let address = format!("127.{a}.{b}.{c}:0");
    let names = ["adapter", "publish", "query", "control"];
    let pairs = names.map(|name| (name, format!("tcp://{address}")));
    let pairs = pairs.into_iter().chain([("http", address)]);
    pairs.flat_map(|(key, at)| ["--set".to_owned(), format!("wire.{key}={at}")]).collect()
}

/// Runs `corticast …` and waits until it has ended.
#[must_use]
pub fn corticast<S: AsRef<OsStr>>(site: &Site, arguments: impl IntoIterator<Item = S>) -> Finished {
    let mut command = Command::new(binary("corticast"));
    command.args(arguments);
    Process::start(site, command).finish()
}

/// Starts `corticast-adapter …`, connected to `endpoint`.
#[must_use]
pub fn adapter(site: &Site, endpoint: &str, arguments: &[impl AsRef<OsStr>]) -> Process {
    let mut command = Command::new(binary("corticast-adapter"));
    command.args(arguments).args(["--connect", endpoint]);
    Process::start(site, command)
}

/// A shell command that runs one of our binaries, given as `$0`. For limits that the process
/// inherits from the shell.
#[must_use]
pub fn in_shell(script: &str, name: &str, arguments: &[String]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary(name)).args(arguments);
    command
}

/// The text of `/metrics` at one moment.
#[derive(Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The value of the metric with this name and these labels; 0 if there is no such metric.
    #[must_use]
    pub fn value(&self, name: &str) -> f64 {
        let line = self.0.lines().find(|line| line.rsplit_once(' ').is_some_and(|l| l.0 == name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or(0.0)
    }

    /// Like [`Metrics::value`], for a counter.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.value(name) as u64
    }
}

/// A running daemon that is ready.
#[derive(Debug)]
pub struct Daemon {
    /// The process.
    pub process: Process,
    endpoints: Value,
}

impl Daemon {
    /// Starts `corticast run` with the site's configuration and waits until it is ready.
    #[must_use]
    pub fn start(site: &Site, arguments: &[&str]) -> Self {
        Self::started(site, "exec \"$0\" \"$@\"", arguments)
    }

    /// Like [`Daemon::start`], from a shell script.
    #[must_use]
    pub fn started(site: &Site, script: &str, arguments: &[&str]) -> Self {
        let file = site.path("endpoints.json");
        std::fs::remove_file(&file).ok();
        let mut all = vec!["run".to_owned(), "--config".to_owned()];
        all.push(site.config().display().to_string());
        all.extend(["--endpoints".to_owned(), file.display().to_string()]);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut process = Process::start(site, in_shell(script, "corticast", &all));
        let endpoints = wait_for("the daemon is ready", || {
            assert!(!process.has_ended(), "the daemon ended: {}", process.log());
            serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
        });
        Self { process, endpoints }
    }

    /// An endpoint of the daemon: `adapter`, `publish`, `query`, `control` or `http`.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> &str {
        self.endpoints[name].as_str().expect("an endpoint")
    }

    /// `--set` flags that make another daemon listen at this one's endpoints. No other process may
    /// take the ports in between: see [`own_address`].
    #[must_use]
    pub fn same_endpoints(&self) -> Vec<String> {
        let http = self.endpoint("http").trim_start_matches("http://").to_owned();
        let names = ["adapter", "publish", "query", "control"];
        let pairs = names.map(|name| (name, self.endpoint(name).to_owned()));
        let pairs = pairs.into_iter().chain([("http", http)]);
        pairs.flat_map(|(key, at)| ["--set".to_owned(), format!("wire.{key}={at}")]).collect()
    }

    /// Sends the whole scan of the site with an adapter. Returns how the adapter ended.
    #[must_use]
    pub fn scan(&self, site: &Site, more: &[&str]) -> Finished {
        let mut flags = site.scan_flags();
        if !more.contains(&"--speed") {
            flags.extend(["--speed".to_owned(), "0".to_owned()]);
        }
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        adapter(site, self.endpoint("adapter"), &flags).finish()
    }

    /// Subscribes to everything that the daemon publishes from now on.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::hearing_all(self.endpoint("publish"), &ClientSecurity::None, &self.talk())
    }

    /// The daemon's current metrics.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics(http_get(self.endpoint("http"), "/metrics").1)
    }

    /// Waits until `is_so` is true of the daemon's metrics. Returns these metrics.
    #[must_use]
    pub fn metrics_when(&self, what: &str, is_so: impl Fn(&Metrics) -> bool) -> Metrics {
        wait_for(what, || Some(self.metrics()).filter(&is_so))
    }

    /// Waits until the signal path has reached the end of the run. The adapter ends earlier,
    /// because the daemon acknowledges volumes when they are recorded and decodes them later.
    pub fn wait_for_end_of_run(&self) {
        wait_for("the end of the run", || (self.query("state")["state"] == "ended").then_some(()));
    }

    /// Connects to the daemon's adapter socket.
    #[must_use]
    pub fn talk(&self) -> Talk {
        Talk::connect(self.endpoint("adapter"), &ClientSecurity::None)
    }

    /// Sends an operator command. Returns the daemon's answer.
    pub fn command(&self, command: &str) -> Value {
        let talk = Talk::connect(self.endpoint("control"), &ClientSecurity::None);
        talk.command(command)
    }

    /// Queries the daemon. Returns its answer.
    #[must_use]
    pub fn query(&self, question: &str) -> Value {
        Talk::connect(self.endpoint("query"), &ClientSecurity::None).query(question)
    }

    /// Stops the daemon with SIGTERM, as an operator does. Returns how it ended.
    #[must_use]
    pub fn stop(self) -> Finished {
        self.process.signal(Signal::TERM);
        self.process.finish()
    }
}
