//! When ONNX Runtime itself fails on window after window, as it does when a device is lost, the
//! networks are opened again on the CPU; if that does not help, decoding stops. Recording and
//! reports go on in every case.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use corticast_images::acquired::AcquiredVolume;
use corticast_tests::{Daemon, Site, Talk, Watch, counts, published, recorded_volumes, wait_for};
use serde_json::Value;

/// A daemon with a model that fails while a voxel is beyond ±4096, and a scanner that can send such
/// volumes.
struct Session {
    daemon: Daemon,
    watch: Watch,
    talk: Talk,
    run: String,
    volumes: Vec<AcquiredVolume>,
    n_sent: u32,
    recording: PathBuf,
}

impl Session {
    fn start(site: &Site) -> Self {
        site.use_model("fails");
        site.edit_manifest(|manifest| {
            let none = toml::Table::from_iter([("mode".to_owned(), "none".into())]);
            manifest.insert("normalise".to_owned(), none.into());
        });
        let recording = site.path("session.mcap");
        let record = ["--set", "normalise.mode=none", "--record", recording.to_str().unwrap()];
        let daemon = Daemon::start(site, &record);
        let (watch, talk) = (daemon.watch(), daemon.talk());
        let (mut header, volumes) = site.acquire();
        header.n_volumes = None;
        let run = talk.start_run(&header).run;
        Self { daemon, watch, talk, run, volumes, n_sent: 0, recording }
    }

    /// Sends a volume that the model decodes, or fails on. Returns what was published up to its
    /// report.
    fn send(&mut self, fails: bool) -> Vec<(String, Value)> {
        let mut volume = self.volumes[self.n_sent as usize % self.volumes.len()].clone();
        let index = self.n_sent;
        volume.index.0 = index;
        volume.acquisition_time_s = None;
        volume.slope = Some(if fails { 1e6 } else { 1e-3 });
        self.talk.send_volumes(&self.run, &[volume]);
        self.n_sent += 1;
        let mut seen = Vec::new();
        let is_report = |topic: &str, header: &Value| topic == "volume" && header["index"] == index;
        while !seen.last().is_some_and(|(topic, header): &(String, Value)| is_report(topic, header))
        {
            let limit = std::time::Duration::from_secs(60);
            seen.push(self.watch.next(limit).expect("a report of each volume"));
        }
        seen
    }

    fn send_each(&mut self, fails: &[bool]) -> Vec<(String, Value)> {
        fails.iter().flat_map(|&fails| self.send(fails)).collect()
    }

    /// Ends run and daemon. Returns received, missing, late, dropped, results.
    fn end(self, code: i32) -> [u64; 5] {
        self.talk.end_run(&self.run, self.n_sent);
        let ended = |topic: &str, header: &Value| topic == "run" && header["state"] == "ended";
        let report = self.watch.until("end", ended);
        assert_eq!(self.daemon.stop().code, Some(code));
        assert_eq!(recorded_volumes(&self.recording), (0..self.n_sent).collect::<BTreeSet<_>>());
        counts(&report)
    }
}

fn n_result(seen: &[(String, Value)]) -> u64 {
    seen.iter().filter(|(topic, _)| topic == "concepts").count() as u64
}

fn said(seen: &[(String, Value)], level: &str) -> Vec<String> {
    let of_level = seen.iter().filter(|(topic, h)| topic == "status" && h["level"] == level);
    of_level.map(|(_, header)| header["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_cpu_takes_over_once_and_a_second_loss_stops_decoding_but_not_recording() {
    let site = Site::new(20);
    let mut session = Session::start(&site);
    // The delay costs the first results.
    let mut n_expected = n_result(&session.send_each(&[false; 8]));
    assert!(n_expected > 0);

    // A window that succeeds between two that fail: nothing is lost but those two.
    let seen = session.send_each(&[true, true, false, true, true]);
    assert_eq!((n_result(&seen), said(&seen, "alarm").len()), (1, 0));
    assert_eq!(said(&seen, "warning").len(), 4);
    n_expected += 1;

    let seen = session.send(true);
    let alarm = said(&seen, "alarm").concat();
    assert!(alarm.contains("failed on 3 windows in a row on `cpu`"), "{alarm}");
    assert!(alarm.contains("opened again on the CPU"), "{alarm}");
    let (mut n_more, mut warnings) = (0, Vec::new());
    let moved = wait_for("results from the networks that were opened again", || {
        let seen = session.send(false);
        n_more += n_result(&seen);
        warnings.extend(said(&seen, "warning"));
        said(&seen, "alarm").pop()
    });
    let index = session.n_sent - 1;
    let expected =
        format!("results from volume {index} on come from `cpu`, those before from `cpu`");
    assert!(moved.contains(&expected), "{moved}");
    assert_eq!(warnings, Vec::<String>::new(), "the alarm stands for all windows");
    n_expected += n_more + n_result(&session.send_each(&[false; 3]));

    let seen = session.send_each(&[true; 3]);
    let stopped = said(&seen, "alarm").concat();
    assert!(stopped.contains("decoding has stopped") && stopped.contains("Recording goes on"));
    let seen = session.send_each(&[false; 5]);
    assert_eq!((n_result(&seen), said(&seen, "warning").len()), (0, 0));

    let recording = session.recording.clone();
    let n_sent = u64::from(session.n_sent);
    let [received, missing, late, dropped, results] = session.end(3);
    assert_eq!([received, missing, late, results], [n_sent, 0, 0, n_expected]);
    assert!(dropped >= 5 + 3 + 5, "{dropped}");
    // The recording says which provider decoded what.
    let alarms: Vec<String> = published(&recording, "status")
        .into_iter()
        .filter(|status| status["level"] == "alarm")
        .map(|status| status["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(alarms, [alarm, moved, stopped]);
}

#[test]
fn a_model_that_does_not_open_again_stops_decoding_but_not_recording() {
    let site = Site::new(20);
    let mut session = Session::start(&site);
    assert!(n_result(&session.send_each(&[false; 8])) > 0);
    fs::remove_file(site.path("model/decoder.onnx")).unwrap();
    session.send_each(&[true; 3]);
    let stopped = wait_for("an alarm", || {
        let seen = session.send(false);
        assert_eq!(n_result(&seen), 0);
        said(&seen, "alarm").pop()
    });
    assert!(stopped.contains("decoding has stopped: the model does not open on the CPU"));
    assert!(stopped.contains("decoder.onnx"), "{stopped}");
    assert_eq!(n_result(&session.send_each(&[false; 2])), 0);
    session.end(3);
}
