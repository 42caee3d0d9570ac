//! Clips made by workers: shared among them, lost when a worker dies, refused from a worker with
//! other files or settings.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_bold::time::TrIndex;
use corticast_tests::{
    Daemon, HeldWorker, Metrics, PATIENCE, Site, Talk, WORKERS, Watch, corticast, repository,
    worker,
};
use corticast_wire::work::Hello;
use rustix::process::Signal;
use serde_json::Value;

fn site() -> Site {
    let site = Site::new(40);
    site.use_model("neurons-tiny");
    site
}

/// How many workers are connected.
fn n_workers(daemon: &Daemon) -> u64 {
    daemon.metrics().count("corticast_workers_connected")
}

fn wait_for_workers(daemon: &Daemon, n: u64) {
    let are_there =
        |metrics: &corticast_tests::Metrics| metrics.count("corticast_workers_connected") == n;
    drop(daemon.metrics_when("workers", are_there));
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
        let watch = daemon.watch();
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        // The first volumes give no clip: they are the warm-up, or before the first stimulus.
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
        self.watch.until(words, |topic, header| topic == "status" && says(header, words))
    }
}

fn says(status: &Value, words: &str) -> bool {
    status["message"].as_str().unwrap().contains(words)
}

#[test]
fn a_dead_worker_loses_only_its_clip_and_the_other_continues() {
    let site = site();
    let daemon = Daemon::start(&site, &WORKERS);
    let second = worker(&site, daemon.endpoint("workers"), "second");
    wait_for_workers(&daemon, 1);
    let mut session = Session::start(&site, &daemon);
    let made_by = |session: &mut Session<'_>| session.clip()["worker"].as_str().unwrap().to_owned();
    assert_eq!(made_by(&mut session), "second");

    // Worker `first` has not made a clip yet, so the daemon gives it the job. It dies during the
    // job.
    let first = HeldWorker::connect(&site, &daemon, "first");
    let lost = session.send();
    assert_eq!(first.job().index as usize, lost);
    assert_eq!(made_by(&mut session), "second");
    drop(first);
    let warning = session.status("worker `first` is gone");
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains(&format!("the clip of {} is lost", TrIndex(lost as u32))));
    assert_eq!(n_workers(&daemon), 1);
    assert_eq!(made_by(&mut session), "second");

    // A new worker joins while the session runs.
    let third = worker(&site, daemon.endpoint("workers"), "third");
    wait_for_workers(&daemon, 2);
    // The worker that has not made a clip yet gets the first job.
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
    // The daemon raises the alarm with the first conditions or up to a second later, so before or
    // after the result. It reports a volume after handing over the volume's conditions.
    let (mut result, mut is_decoded, mut alarm) = (None, false, None);
    while !is_decoded || alarm.is_none() {
        let (topic, header) = session.watch.next(PATIENCE).unwrap();
        let is_ours = header["index"] == index;
        match topic.as_str() {
            "concepts" if is_ours => result = Some(header),
            "volume" if is_ours => is_decoded = true,
            "status" if says(&header, "no worker makes clips") => alarm = Some(header),
            _ => {}
        }
    }
    assert!(result.unwrap()["caption"].is_string());
    let (alarm, endpoint) = (alarm.unwrap(), daemon.endpoint("workers"));
    assert!(alarm["level"] == "alarm" && says(&alarm, endpoint), "{alarm}");
    // The newest conditions have waited for the worker.
    let worker = worker(&site, endpoint, "late");
    let clip = session.watch.until("clip", |topic, _| topic == "clip");
    assert_eq!((&clip["index"], &clip["worker"]), (&index.into(), &"late".into()));
    drop(worker);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn two_workers_with_other_runtimes_are_named() {
    let site = site();
    let daemon = Daemon::start(&site, &WORKERS);
    let first = HeldWorker::connect(&site, &daemon, "first");
    wait_for_workers(&daemon, 1);
    let on_gpu = |hello: &mut Hello| hello.made_with = hello.made_with.replace("cpu", "cuda");
    let second = HeldWorker::greeting(&site, &daemon, "second", on_gpu);
    wait_for_workers(&daemon, 2);
    let log = daemon.process.log();
    let line = log.lines().find(|line| line.contains("worker `second` makes clips with"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("cuda, worker `first` with") && line.contains("last bits"), "{line}");
    drop((first, second));
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
    other.replace_network("vae_decoder", &nan);
    drop(generate(&other.config(), &[]).expect(1, &["refuses", "other model files"]));
    assert_eq!(n_workers(&daemon), 0);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_worker_that_hangs_loses_its_job_and_the_others_continue() {
    let site = site();
    // The deadline only has to be short: no result waits for it.
    let more = ["--set", "generator.clip_deadline_s=3", "--set", "generator.skip_similar=1000000"];
    let daemon = Daemon::start(&site, &[&WORKERS[..], &more].concat());
    let hung = HeldWorker::connect(&site, &daemon, "hung");
    let mut session = Session::start(&site, &daemon);
    let job = hung.job();
    let lost = job.index;
    let alarm = session.status("worker `hung` is connected but has not finished the clip");
    assert!(alarm["level"] == "alarm" && says(&alarm, &TrIndex(lost).to_string()), "{alarm}");

    // The worker still sends heartbeats, but nobody is left to make clips.
    let waiting = session.send();
    let alarm = session.status("no worker makes clips");
    assert_eq!(alarm["level"], "alarm");
    assert_eq!(n_workers(&daemon), 1);
    // Another worker gets the next job, although its conditions are similar to the lost ones.
    let second = worker(&site, daemon.endpoint("workers"), "second");
    let clip = session.watch.until("clip", |topic, _| topic == "clip");
    assert_eq!((&clip["index"], &clip["worker"]), (&waiting.into(), &"second".into()));
    // The clip that was made similar conditions useless: the lost one had not.
    session.send();
    let skipped = |metrics: &Metrics| metrics.count("corticast_clips_skipped_total") == 1;
    drop(daemon.metrics_when("a skipped clip", skipped));
    drop(second);

    // The worker answers: its clip is too late, and it gets jobs again.
    hung.finish(&job, "too late");
    drop(session.status("worker `hung` answers again"));
    assert_eq!(daemon.metrics().count("corticast_clips_total"), 1);
    assert_eq!(daemon.stop().code, Some(0));
}
