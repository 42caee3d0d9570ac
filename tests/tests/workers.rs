//! Clips made by workers: shared among them, lost when a worker dies, refused from a worker with
//! other files or settings.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::process::Command;

use corticast_tests::{
    Daemon, PATIENCE, Process, Site, Talk, Watch, binary, corticast, http_get, repository, wait_for,
};
use corticast_wire::socket::ClientSecurity;
use rustix::process::Signal;
use serde_json::Value;

/// The daemon makes no clips itself.
const WORKERS: [&str; 4] =
    ["--set", "generator.mode=still", "--set", "generator.workers=tcp://127.0.0.1:0"];

fn site() -> Site {
    let site = Site::new(40);
    site.use_model("neurons-tiny");
    site
}

fn worker(site: &Site, daemon: &Daemon, name: &str) -> Process {
    let mut command = Command::new(binary("corticast"));
    command.args(["generate", "--config"]).arg(site.config());
    command.args(["--connect", daemon.endpoint("workers"), "--name", name]);
    command.args(WORKERS);
    Process::start(site, command)
}

/// How many workers are `connected` or `busy`.
fn n_workers(daemon: &Daemon, what: &str) -> u32 {
    let (_, metrics) = http_get(daemon.endpoint("http"), "/metrics");
    let name = format!("corticast_workers_{what} ");
    let line = metrics.lines().find(|line| line.starts_with(&name));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
}

fn wait_for_workers(daemon: &Daemon, what: &str, n: u32) {
    wait_for("workers", || (n_workers(daemon, what) == n).then_some(()));
}

/// A session that advances volume by volume.
struct Session<'a> {
    daemon: &'a Daemon,
    talk: Talk,
    watch: Watch,
    run: String,
    volumes: Vec<corticast_images::acquired::AcquiredVolume>,
    next: usize,
}

impl<'a> Session<'a> {
    fn start(site: &Site, daemon: &'a Daemon) -> Self {
        let watch = Watch::connect(daemon.endpoint("publish"), &ClientSecurity::None);
        watch.wait_connected(PATIENCE).unwrap();
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        // The first volumes warm up, and respond to no stimulus.
        talk.send_volumes(&run, &volumes[..10]);
        Self { daemon, talk, watch, run, volumes, next: 10 }
    }

    /// Sends one volume. Returns its index.
    fn send(&mut self) -> usize {
        self.talk.send_volumes(&self.run, &self.volumes[self.next..=self.next]);
        self.next += 1;
        self.next - 1
    }

    /// Sends one volume and waits for its clip.
    fn clip(&mut self) -> Value {
        let index = self.send();
        self.watch.until("clip", |topic, header| topic == "clip" && header["index"] == index)
    }

    fn status(&self, words: &str) -> Value {
        let of = |header: &Value| header["message"].as_str().unwrap().contains(words);
        self.watch.until(words, |topic, header| topic == "status" && of(header))
    }
}

#[test]
fn a_dead_worker_loses_only_its_clip_and_the_other_continues() {
    let site = site();
    let daemon = Daemon::start(&site, &WORKERS);
    let (first, second) = (worker(&site, &daemon, "first"), worker(&site, &daemon, "second"));
    wait_for_workers(&daemon, "connected", 2);
    let mut session = Session::start(&site, &daemon);
    let made_by = |session: &mut Session<'_>| session.clip()["worker"].as_str().unwrap().to_owned();
    assert!(["first", "second"].contains(&made_by(&mut session).as_str()));

    // Both stop in the middle of a clip; one continues, the other is killed.
    wait_for_workers(&daemon, "busy", 0);
    first.signal(Signal::STOP);
    second.signal(Signal::STOP);
    let a = session.send();
    wait_for_workers(&daemon, "busy", 1);
    let b = session.send();
    wait_for_workers(&daemon, "busy", 2);
    second.signal(Signal::CONT);
    let clip = session.watch.until("clip", |topic, header| {
        topic == "clip" && (header["index"] == a || header["index"] == b)
    });
    assert_eq!(clip["worker"], "second");
    first.kill();
    let lost = session.status("worker `first` is gone");
    assert!(lost["message"].as_str().unwrap().contains("; the clip of"), "{lost}");
    assert_eq!(n_workers(&daemon, "connected"), 1);
    assert_eq!(made_by(&mut session), "second");

    // A new worker joins while the session runs.
    let third = worker(&site, &daemon, "third");
    wait_for_workers(&daemon, "connected", 2);
    // A worker without a clip so far gets the next job.
    assert_eq!(made_by(&mut session), "third");
    second.signal(Signal::TERM);
    assert_eq!(second.finish().code, Some(0));
    assert_eq!(session.daemon.query("state")["state"], "feedback");
    assert_eq!(daemon.stop().code, Some(0));
    third.signal(Signal::TERM);
    assert_eq!(third.finish().code, Some(0));
}

#[test]
fn without_workers_the_operator_is_alarmed_and_decoding_continues() {
    let site = site();
    let daemon = Daemon::start(&site, &WORKERS);
    let mut session = Session::start(&site, &daemon);
    let index = session.send();
    let result = session
        .watch
        .until("result", |topic, header| topic == "concepts" && header["index"] == index);
    assert!(result["caption"].is_string());
    let alarm = session.status("no worker makes clips");
    assert!(alarm["message"].as_str().unwrap().contains(daemon.endpoint("workers")), "{alarm}");
    // The newest conditions have waited for a worker.
    let worker = worker(&site, &daemon, "late");
    let clip = session.watch.until("clip", |topic, _| topic == "clip");
    assert_eq!((&clip["index"], &clip["worker"]), (&index.into(), &"late".into()));
    drop(worker);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_worker_with_other_files_or_settings_is_refused() {
    let site = site();
    let daemon = Daemon::start(&site, &WORKERS);
    let generate = |config: &std::path::Path, more: &[&str]| {
        let endpoint = daemon.endpoint("workers");
        let arguments = ["generate", "--config", config.to_str().unwrap(), "--connect", endpoint];
        corticast(&site, arguments.iter().chain(&WORKERS).chain(more))
    };
    let seed = ["--set", "generator.seed=5"];
    drop(generate(&site.config(), &seed).expect(1, &["refuses", "other settings", "seed 5"]));

    let other = self::site();
    let nan = repository("tests/data/models/neurons-nan/vae_nan.onnx");
    std::fs::copy(nan, other.path("model/other.onnx")).unwrap();
    let sha256 = "5fe88dd2134e45e805b17a7008d2692bd6224fffa06f1bfd3e5385d62cd65494";
    other.edit_manifest(|manifest| {
        let networks = manifest["network"].as_array_mut().unwrap();
        let decoder = networks.iter_mut().find(|n| n["role"].as_str() == Some("vae_decoder"));
        let decoder = decoder.unwrap().as_table_mut().unwrap();
        decoder.insert("file".into(), "other.onnx".into());
        decoder.insert("sha256".into(), sha256.into());
    });
    drop(generate(&other.config(), &[]).expect(1, &["refuses", "other model files"]));
    assert_eq!(n_workers(&daemon, "connected"), 0);
    assert_eq!(daemon.stop().code, Some(0));
}
