//! A session that is recorded, with its results in a file: what restarts are compared by.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use crate::{Daemon, Finished, Site, corticast, published, recorded_volumes, results, wait_for};

/// A recorded session with a name of its own in the folder of its site.
#[derive(Debug)]
pub struct Kept<'a> {
    site: &'a Site,
    name: String,
}

impl<'a> Kept<'a> {
    /// A session with this name. Nothing is started.
    #[must_use]
    pub fn new(site: &'a Site, name: &str) -> Self {
        Self { site, name: name.to_owned() }
    }

    /// The recording.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.site.path(&format!("{}.mcap", self.name))
    }

    /// The results file.
    #[must_use]
    pub fn results_file(&self) -> PathBuf {
        self.site.path(&format!("{}.jsonl", self.name))
    }

    /// The flags of a daemon that starts or continues this session.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let (mcap, jsonl) = (path(self.recording()), path(self.results_file()));
        vec!["--record".to_owned(), mcap, "--results".to_owned(), jsonl]
    }

    /// Starts or continues the session.
    #[must_use]
    pub fn start(&self, more: &[impl AsRef<str>]) -> Daemon {
        self.started("exec \"$0\" \"$@\"", more)
    }

    /// Starts or continues the session in a daemon that fails on purpose (`daemon/src/failpoint.rs`
    /// lists the faults).
    #[must_use]
    pub fn start_failing(&self, fault: &str, more: &[impl AsRef<str>]) -> Daemon {
        self.started(&format!("export CORTICAST_FAULT={fault}; exec \"$0\" \"$@\""), more)
    }

    fn started(&self, script: &str, more: &[impl AsRef<str>]) -> Daemon {
        let flags = self.flags();
        let all: Vec<&str> =
            flags.iter().map(String::as_str).chain(more.iter().map(AsRef::as_ref)).collect();
        Daemon::started(self.site, script, &all)
    }

    /// Sends the whole scan to a daemon that nobody disturbs. Returns the results.
    #[must_use]
    pub fn undisturbed(site: &'a Site) -> Vec<Value> {
        let kept = Self::new(site, "undisturbed");
        let daemon = kept.start(&[""; 0]);
        assert_eq!(daemon.scan(site, &[]).code, Some(0));
        assert_eq!(daemon.stop().code, Some(0));
        kept.results()
    }

    /// The lines of the results file.
    #[must_use]
    pub fn results(&self) -> Vec<Value> {
        results(&self.results_file())
    }

    /// Waits until the results file has this many lines.
    pub fn wait_for_results(&self, n: usize) {
        wait_for("results", || {
            let text = std::fs::read_to_string(self.results_file()).ok()?;
            (text.lines().count() >= n).then_some(())
        });
    }

    /// Replays the recording. Returns the results, and how the replay ended.
    #[must_use]
    pub fn replayed(&self) -> (Vec<Value>, Finished) {
        let out = self.site.path(&format!("{}-replayed.jsonl", self.name));
        let mut command = vec!["replay".to_owned(), "--config".to_owned()];
        command.extend([self.site.config().display().to_string(), "--run".to_owned()]);
        command.extend([self.recording().display().to_string(), "--overwrite".to_owned()]);
        command.extend(["--results".to_owned(), out.display().to_string()]);
        let replay = corticast(self.site, command);
        // 3: volumes are missing in the recording, too.
        assert!(matches!(replay.code, Some(0 | 3)), "{}", replay.log);
        (results(&out), replay)
    }

    /// Checks that volumes, results and reports are each in the recording, in its export and in
    /// the results file once: `n_volume` volumes in each of `n_run` runs.
    pub fn check_complete(&self, expected: &[Value], n_volume: u32, n_run: usize) {
        let recording = self.recording();
        assert_eq!(recorded_volumes(&recording), (0..n_volume).collect::<BTreeSet<_>>());
        let about = |report: &Value| {
            let run = report["run"].as_str().expect("a run").to_owned();
            (run, report["index"].as_u64().expect("an index"))
        };
        let reports: Vec<_> = published(&recording, "volume").iter().map(about).collect();
        let different: BTreeSet<_> = reports.iter().collect();
        assert_eq!(reports.len(), n_volume as usize * n_run, "{}", difference(&reports));
        assert_eq!(different.len(), reports.len(), "{}", difference(&reports));
        assert_eq!(self.results(), expected, "the results file");
        assert_eq!(published(&recording, "concepts"), expected, "the recorded results");
        let exported = self.exported("concepts");
        assert_eq!(exported, expected, "the exported results");
        assert_eq!(self.exported("volume").len(), reports.len(), "the exported reports");
    }

    /// What `export --jsonl` writes for a topic.
    #[must_use]
    pub fn exported(&self, topic: &str) -> Vec<Value> {
        let out = self.site.path(&format!("{}-{topic}-exported.jsonl", self.name));
        let paths = [self.recording(), out.clone()].map(|path| path.display().to_string());
        let [recording, to] = &paths;
        let command = ["export", recording, "--jsonl", to, "--topic", topic, "--force"];
        drop(corticast(self.site, command).expect(0, &[]));
        results(&out)
    }
}

/// Which reports come more than once, for a message.
fn difference(reports: &[(String, u64)]) -> String {
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = reports.iter().filter(|report| !seen.insert(*report)).collect();
    format!("{} reports, twice: {twice:?}", reports.len())
}
