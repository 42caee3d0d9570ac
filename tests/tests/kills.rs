//! Daemon and adapter die again and again, at any moment and in every way, and nothing of it shows
//! in the results.
//!
//! `CORTICAST_KILLS=1000` asks for that many deaths of the daemon, `CORTICAST_SEED` for other
//! moments. The seed alone decides what is done and how long is waited in between; what the
//! processes are doing then depends on the machine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use corticast_adapter::synthetic::rng::Rng;
use corticast_tests::{
    Daemon, Finished, Kept, Process, Site, adapter, entries, in_shell, own_address, published,
    wait_for, without_ns,
};
use corticast_wire::message::FromAdapter;
use rustix::process::Signal;
use serde_json::Value;

/// Deaths of the daemon when nothing else is asked.
const KILLS: u32 = 60;
/// Volumes of a run, and runs of a session.
const VOLUMES: u32 = 60;
const RUNS: u32 = 4;
/// A run takes a second.
const SPEED: [&str; 2] = ["--speed", "60"];
/// Longest time between two deaths.
const LONGEST_MS: u32 = 400;

fn asked<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Whether the disk has room for what the daemon writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Large,
    /// No file may grow beyond a few kilobytes.
    Fills,
}

/// The sessions of the test, one after the other, and what happened to them.
struct Harness<'a> {
    site: &'a Site,
    rng: Rng,
    endpoints: Vec<String>,
    adapter_endpoint: String,
    n_died: u32,
    n_terminated: u32,
    n_full: u32,
    n_before_ready: u32,
    n_adapters_died: u32,
    /// The runs of this session whose adapter died.
    may_repeat: BTreeSet<u32>,
    slowest: Duration,
}

impl Harness<'_> {
    fn below(&mut self, n: u32) -> u32 {
        (self.rng.uniform() * f64::from(n)) as u32
    }

    #[allow(clippy::disallowed_methods, reason = "the moment of a death is what is random")]
    fn wait(&mut self, longest_ms: u32) {
        let ms = self.below(longest_ms);
        std::thread::sleep(Duration::from_millis(u64::from(ms)));
    }

    /// A disk with little room often enough that it is full at a tenth of the deaths.
    fn disk(&mut self) -> Disk {
        if self.below(6) == 0 { Disk::Fills } else { Disk::Large }
    }

    fn spawn(&mut self, session: &Kept, disk: Disk) -> Process {
        let ready = self.site.path("endpoints.json");
        std::fs::remove_file(&ready).ok();
        let mut flags = vec!["run".to_owned(), "--config".to_owned()];
        flags.extend([self.site.config().display().to_string(), "--endpoints".to_owned()]);
        flags.push(ready.display().to_string());
        flags.extend(session.flags());
        flags.extend(self.endpoints.clone());
        let limit = match disk {
            Disk::Large => String::new(),
            // In blocks of 512 bytes.
            Disk::Fills => format!("trap '' XFSZ; ulimit -f {}; ", 8 + self.below(32)),
        };
        let script = format!("{limit}exec \"$0\" \"$@\"");
        Process::start(self.site, in_shell(&script, "corticast", &flags))
    }

    /// Starts the daemon until it is ready. It may die before that, several times.
    fn start(&mut self, session: &Kept) -> (Process, Disk) {
        loop {
            let (disk, started) = (self.disk(), Instant::now());
            let mut process = self.spawn(session, disk);
            if self.below(6) == 0 {
                self.wait(120);
                self.n_before_ready += 1;
                self.die(process);
                continue;
            }
            let is_ready = wait_for("the daemon is ready", || {
                let endpoints = std::fs::read(self.site.path("endpoints.json")).ok();
                let endpoints = endpoints.and_then(|text| serde_json::from_slice(&text).ok());
                let is_ready = endpoints.map(|_: Value| true);
                is_ready.or_else(|| process.has_ended().then_some(false))
            });
            if is_ready {
                self.slowest = self.slowest.max(started.elapsed());
                return (process, disk);
            }
            // Only a full disk keeps the daemon from starting.
            let ended = process.finish().expect(1, &["File too large"]);
            assert!(disk == Disk::Fills, "{}", ended.log);
            self.n_died += 1;
            self.n_full += 1;
        }
    }

    /// Ends a daemon: a third of them politely.
    fn die(&mut self, mut process: Process) -> Finished {
        self.n_died += 1;
        let is_polite = self.below(3) == 0;
        // One on a full disk may have ended by itself.
        if !process.has_ended() {
            self.n_terminated += u32::from(is_polite);
            process.signal(if is_polite { Signal::TERM } else { Signal::KILL });
        }
        process.finish()
    }

    fn scanner(&self, run: u32) -> Process {
        let mut flags = self.site.scan_flags();
        flags.extend(["--run".to_owned(), run.to_string()]);
        flags.extend(SPEED.map(str::to_owned));
        adapter(self.site, &self.adapter_endpoint, &flags)
    }

    /// A session of [`RUNS`] runs, until all of them are complete.
    fn session(&mut self, session: &Kept) {
        let (mut daemon, mut disk) = self.start(session);
        for run in 1..=RUNS {
            let mut scanner = self.scanner(run);
            while !scanner.has_ended() {
                self.wait(LONGEST_MS);
                if self.below(5) == 0 && !scanner.has_ended() {
                    self.n_adapters_died += 1;
                    self.may_repeat.insert(run);
                    scanner.kill();
                    scanner = self.scanner(run);
                    continue;
                }
                let ended = self.die(daemon);
                match (ended.code, disk) {
                    // After a signal nothing is lost; a kill has no exit code.
                    (None | Some(0), _) => {}
                    (Some(1), Disk::Fills) if ended.log.contains("File too large") => {}
                    (code, _) => {
                        drop(
                            std::process::Command::new("cp")
                                .args([
                                    "-a",
                                    session.recording().parent().unwrap().to_str().unwrap(),
                                    "/tmp/keptE",
                                ])
                                .status(),
                        );
                        panic!("the daemon ended with {code:?}: {}", ended.log)
                    }
                }
                self.n_full += u32::from(ended.log.contains("recording stopped"));
                (daemon, disk) = self.start(session);
            }
            drop(scanner.finish().expect(0, &[]));
        }
        // The last daemon decodes what it has and completes the files, so it needs a disk.
        while disk == Disk::Fills {
            drop(self.die(daemon));
            (daemon, disk) = self.start(session);
        }
        daemon.signal(Signal::TERM);
        drop(daemon.finish().expect(0, &[]));
    }
}

/// Which volumes of each run a recording holds.
fn recorded(session: &Kept) -> BTreeMap<String, BTreeSet<u32>> {
    let mut runs: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for frames in entries(&session.recording()).0.into_iter().filter_map(|entry| entry.frames()) {
        if let Ok((FromAdapter::Volume(volume), _)) = FromAdapter::parse(&frames) {
            runs.entry(volume.header.run).or_default().insert(volume.header.index.0);
        }
    }
    runs
}

/// The runs that the session should have. An adapter that dies between the end of its run and its
/// own is started again by the harness, and scans once more: a run of its own, which is complete
/// too, as is the one before it.
fn names(session: &Kept, site: &Site, may_repeat: &BTreeSet<u32>) -> Vec<String> {
    let found = recorded(session);
    let mut names = Vec::new();
    for run in 1..=RUNS {
        let name = site.run_name().replace("run-1", &format!("run-{run}"));
        let repeats = (2..).map(|number| format!("{name}+{number}"));
        let is_repeat = |name: &String| may_repeat.contains(&run) && found.contains_key(name);
        names.extend(std::iter::once(name.clone()).chain(repeats.take_while(is_repeat)));
    }
    names
}

/// Checks a session: each run under its name, each volume recorded, each result once and equal to
/// that of a run that nobody disturbed.
fn check(session: &Kept, names: &[String], expected: &[Value], disk_was_full: bool) {
    let whole: BTreeSet<u32> = (0..VOLUMES).collect();
    let complete = names.iter().map(|name| (name.clone(), whole.clone())).collect();
    assert_eq!(recorded(session), complete, "acknowledged volumes are missing");
    let expected = named(names, expected);
    assert_eq!(written(session, disk_was_full), expected, "the results file");
    let mut of_recording = published(&session.recording(), "concepts");
    assert_eq!(of_recording.len(), expected.len(), "a result is missing, or there twice");
    of_recording.sort_by_key(place);
    assert_eq!(of_recording, expected, "the recorded results");
    let reports: Vec<_> = published(&session.recording(), "volume").iter().map(place).collect();
    let different: BTreeSet<_> = reports.iter().collect();
    assert_eq!((reports.len(), different.len()), (names.len() * whole.len(), reports.len()));
}

/// The lines of the results file. A disk that was full while the recording had failed, too, cuts a
/// line for good: nothing in the file is ever removed.
///
/// A daemon that dies before the first result is recorded leaves a file that the next one cannot
/// tell from that of another session, so the results go to a file with a new name, from the first.
fn written(session: &Kept, disk_was_full: bool) -> Vec<Value> {
    let path = session.results_file();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let files =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_of_session = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(".jsonl"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let changed = |path: &std::path::PathBuf| path.metadata().unwrap().modified().unwrap();
    let newest = files.filter(is_of_session).max_by_key(changed).unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    let parsed = text.lines().map(serde_json::from_str::<Value>);
    let whole: Vec<_> = parsed.filter(|line| line.is_ok() || !disk_was_full).collect();
    whole.into_iter().map(|line| without_ns(line.unwrap())).collect()
}

fn place(of: &Value) -> (String, u64) {
    (of["run"].as_str().unwrap().to_owned(), of["index"].as_u64().unwrap())
}

/// The results of one run, for each run: all send the same scan.
fn named(names: &[String], expected: &[Value]) -> Vec<Value> {
    let of_run = |name: &String| {
        let mut results = expected.to_vec();
        results.iter_mut().for_each(|result| result["run"] = name.clone().into());
        results
    };
    names.iter().flat_map(of_run).collect()
}

#[test]
fn no_death_at_any_moment_shows_in_the_results() {
    let (kills, seed) = (asked("CORTICAST_KILLS", KILLS), asked("CORTICAST_SEED", 1));
    let site = Site::new(VOLUMES);
    let expected = Kept::undisturbed(&site);
    // An address of its own, so that no other process takes the ports of a daemon that is dead.
    let first = Daemon::start(&site, &own_address().iter().map(String::as_str).collect::<Vec<_>>());
    let (endpoints, adapter_endpoint) =
        (first.same_endpoints(), first.endpoint("adapter").to_owned());
    assert_eq!(first.stop().code, Some(0));
    let started = Instant::now();
    let mut harness = Harness {
        site: &site,
        rng: Rng::new(seed, 0),
        endpoints,
        adapter_endpoint,
        n_died: 0,
        n_terminated: 0,
        n_full: 0,
        n_before_ready: 0,
        n_adapters_died: 0,
        may_repeat: BTreeSet::new(),
        slowest: Duration::ZERO,
    };
    let mut n_session = 0;
    while harness.n_died < kills {
        n_session += 1;
        eprintln!("seed {seed}, session {n_session}: {} of {kills} deaths", harness.n_died);
        let session = Kept::new(&site, &format!("session{n_session}"));
        let n_full = harness.n_full;
        harness.may_repeat.clear();
        harness.session(&session);
        let names = names(&session, &site, &harness.may_repeat);
        check(&session, &names, &expected, harness.n_full > n_full);
    }
    let Harness { n_died, n_terminated, n_full, n_before_ready, n_adapters_died, slowest, .. } =
        harness;
    eprintln!(
        "seed {seed}: {n_died} deaths of the daemon ({n_terminated} by SIGTERM, {n_full} on a full \
         disk, {n_before_ready} before it was ready) and {n_adapters_died} of the adapter in \
         {n_session} sessions of {RUNS} runs: 0 acknowledged volumes lost, 0 results lost, changed \
         or doubled; slowest restart {} ms; {:.0} s",
        slowest.as_millis(),
        started.elapsed().as_secs_f64()
    );
}
