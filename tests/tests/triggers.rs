//! The scanner's triggers, from a serial port, a keyboard, an input device and Lab Streaming Layer,
//! become marks of the run, its first one the run's zero; and no fault of a trigger costs a volume.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    net::{Shutdown, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use corticast_bold::space::VoxelSpace;
use corticast_tests::{
    Daemon, Finished, Process, Site, binary, corticast, entries, in_shell, not_run,
    recorded_volumes, repository, wait_for,
};
use corticast_wire::message::{FromAdapter, Mark, TriggerCounts};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};

const TR: Duration = Duration::from_millis(800);
const VOLUMES: u8 = 7;

/// A site for [`commands`].
fn site() -> Site {
    let affine = [[-3., 0., 0., 6.], [0., -3., 0., 6.], [0., 0., 3., -4.], [0., 0., 0., 1.]];
    let space = VoxelSpace::new([4, 4, 3], affine).unwrap();
    Site::for_space(&space, [[0, 0, 0], [1, 1, 1], [2, 1, 1], [1, 2, 2]], TR.as_secs_f64())
}

/// The announcement of a scan in AFNI's protocol.
fn commands() -> Vec<u8> {
    let tr_s = TR.as_secs_f64();
    let text = format!(
        "ACQUISITION_TYPE 3D+timing\nTR {tr_s}\nXYFOV 12 12 9\nXYMATRIX 4 4 3\nXYZAXES R-L A-P I-S\n\
         XYZFIRST 6R 6A 4I\nBYTEORDER LSB_FIRST\n\0"
    );
    text.into_bytes()
}

/// A scanner: triggers at the start of each volume, volumes at the end.
struct Scanner {
    stream: TcpStream,
    start: Instant,
}

impl Scanner {
    fn of(adapter: &Process) -> Self {
        let mut stream = TcpStream::connect(adapter.listens("afni")).unwrap();
        stream.write_all(&commands()).unwrap();
        Self { stream, start: Instant::now() + TR }
    }

    #[allow(clippy::disallowed_methods, reason = "a scanner keeps its own time")]
    fn wait(&self, n: u8) {
        let due = self.start + TR * n.into();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }

    /// Acquires volumes; `trigger` is called at the start of each.
    fn scan(&mut self, n: u8, mut trigger: impl FnMut(u8)) {
        for k in 0..n {
            self.wait(k);
            if k > 0 {
                self.send(k - 1);
            }
            trigger(k);
        }
        self.wait(n);
        self.send(n - 1);
    }

    fn send(&mut self, n: u8) {
        self.stream.write_all(&[n, 0, n + 1, 0].repeat(24)).unwrap();
    }

    fn end(self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// The flags of an adapter that takes one run and these triggers.
fn flags(daemon: &Daemon, trigger: &str) -> Vec<String> {
    let text = "afni --control-port 0 --data-port 0 --runs 1 --trigger-bounce-ms 200 --connect";
    let mut flags: Vec<String> = text.split(' ').map(str::to_owned).collect();
    flags.extend([daemon.endpoint("adapter").to_owned(), "--trigger".into(), trigger.into()]);
    flags
}

fn adapter(site: &Site, daemon: &Daemon, trigger: &str) -> Process {
    let mut command = Command::new(binary("corticast-adapter"));
    command.args(flags(daemon, trigger));
    Process::start(site, command)
}

/// A daemon that records, and its recording.
fn daemon(site: &Site) -> (Daemon, PathBuf) {
    let mcap = site.path("session.mcap");
    (Daemon::start(site, &["--record", mcap.to_str().unwrap()]), mcap)
}

/// The recorded marks of a run, and what its end says of triggers.
fn recorded(mcap: &std::path::Path) -> (Vec<Mark>, TriggerCounts) {
    let messages = entries(mcap).0.into_iter().filter_map(|entry| entry.frames());
    let (mut marks, mut counts) = (Vec::new(), None);
    for frames in messages {
        match FromAdapter::parse(&frames).unwrap().0 {
            FromAdapter::Mark(mark) => marks.push(mark),
            FromAdapter::End(end) => counts = end.triggers,
            _ => {}
        }
    }
    (marks, counts.expect("the end of the run says what was found of its triggers"))
}

/// Checks that every volume has a mark at its start, from 0 on.
fn is_marked(daemon: Daemon, mcap: &std::path::Path, ended: Finished) {
    let ended = ended.expect(0, &["triggers of the run", "listening for triggers"]);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(mcap), (0..VOLUMES.into()).collect());
    let (marks, counts) = recorded(mcap);
    assert!(marks.is_sorted_by(|a, b| a.time_s <= b.time_s), "{marks:?}");
    let times: Vec<f64> =
        marks.iter().filter(|mark| mark.name == "ttl").map(|mark| mark.time_s).collect();
    assert_eq!(times.len(), usize::from(VOLUMES), "{marks:?}: {}", ended.log);
    assert!(times[0].abs() < 1e-9, "{times:?}");
    for (k, time) in times.iter().enumerate() {
        // A busy machine may be late with both.
        assert!((time - k as f64 * TR.as_secs_f64()).abs() < 0.3, "{times:?}");
    }
    assert_eq!((counts.n, counts.n_missed, counts.n_spurious), (VOLUMES.into(), 0, 0));
    assert!(counts.drift_ms_per_min.is_some() && counts.delay_s > Some(0.5), "{counts:?}");
}

/// A pseudo-terminal: our end, and the path of the other.
fn terminal() -> (File, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    // Bytes pass as they are, also before the adapter has set up its end.
    let mut settings = tcgetattr(&ours).unwrap();
    settings.make_raw();
    tcsetattr(&ours, OptionalActions::Now, &settings).unwrap();
    (File::from(ours), path)
}

fn fifo(site: &Site, name: &str) -> PathBuf {
    let path = site.path(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

#[test]
fn bytes_of_a_serial_port_mark_the_volumes() {
    let site = site();
    let (daemon, mcap) = daemon(&site);
    let (mut port, path) = terminal();
    let adapter = adapter(&site, &daemon, &format!("serial:{path}:5"));
    let mut scanner = Scanner::of(&adapter);
    // Other bytes, and a bounce of each.
    scanner.scan(VOLUMES, |_| port.write_all(b"x55").unwrap());
    scanner.end();
    let ended = adapter.finish();
    is_marked(daemon, &mcap, ended);
    assert_eq!(recorded(&mcap).1.n_bounces, u32::from(VOLUMES));
    // The report shows it.
    let out = site.path("report");
    let arguments = ["report", mcap.to_str().unwrap(), "--out", out.to_str().unwrap()];
    drop(corticast(&site, arguments).expect(0, &[]));
    let files = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let page = files.filter(|path| path.extension().is_some_and(|ext| ext == "html")).last();
    let page = std::fs::read_to_string(page.unwrap()).unwrap();
    assert!(page.contains("drift of the volumes"), "{page}");
}

#[test]
fn keys_of_the_terminal_mark_the_volumes() {
    let site = site();
    let (daemon, mcap) = daemon(&site);
    let (mut keyboard, path) = terminal();
    let script = format!("exec \"$0\" \"$@\" < {path}");
    let command = in_shell(&script, "corticast-adapter", &flags(&daemon, "keyboard:t"));
    let adapter = Process::start(&site, command);
    let mut scanner = Scanner::of(&adapter);
    scanner.scan(VOLUMES, |_| keyboard.write_all(b"t").unwrap());
    scanner.end();
    let ended = adapter.finish();
    is_marked(daemon, &mcap, ended);
}

#[test]
fn keys_of_an_input_device_mark_the_volumes() {
    let site = site();
    let (daemon, mcap) = daemon(&site);
    let path = fifo(&site, "event3");
    let adapter = adapter(&site, &daemon, &format!("input:{}:5", path.display()));
    // Opens once the adapter reads.
    let mut device = OpenOptions::new().write(true).open(&path).unwrap();
    let event = |kind: u16, code: u16, value: i32| {
        let (kind, code, value) = (kind.to_ne_bytes(), code.to_ne_bytes(), value.to_ne_bytes());
        [&[0; 16][..], &kind, &code, &value].concat()
    };
    let mut scanner = Scanner::of(&adapter);
    // The press of KEY_5, its report, and its release.
    let press = [event(1, 6, 1), event(0, 0, 0), event(1, 6, 0), event(0, 0, 0)].concat();
    scanner.scan(VOLUMES, |_| device.write_all(&press).unwrap());
    scanner.end();
    let ended = adapter.finish();
    is_marked(daemon, &mcap, ended);
}

#[test]
fn markers_of_lsl_mark_the_volumes() {
    let test = "markers_of_lsl_mark_the_volumes";
    let named = std::env::var_os("CORTICAST_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| "python3".into());
    let mut has = Command::new(&python);
    let quiet = has.args(["-c", "import pylsl"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !quiet.status().is_ok_and(|status| status.success()) {
        not_run(test, "no Python with pylsl; set CORTICAST_PYTHON");
        return;
    }
    let site = site();
    let (daemon, mcap) = daemon(&site);
    let path = fifo(&site, "markers");
    let name = format!("corticast-test-{}", std::process::id());
    let mut command = Command::new(python);
    command.arg(repository("tests/tests/python/lsl_markers.py").canonicalize().unwrap());
    command.args([&name, path.to_str().unwrap()]);
    let outlet = Process::start(&site, command);
    let mut markers = OpenOptions::new().write(true).open(&path).unwrap();
    let adapter = adapter(&site, &daemon, &format!("lsl:{name}=5"));
    wait_for("the stream is connected", || {
        (adapter.log().contains("LSL stream is connected")).then_some(())
    });
    wait_for("the outlet has an inlet", || outlet.output().contains("connected").then_some(()));
    let mut scanner = Scanner::of(&adapter);
    scanner.scan(VOLUMES, |_| markers.write_all(b"other\n5\n").unwrap());
    scanner.end();
    let ended = adapter.finish();
    is_marked(daemon, &mcap, ended);
}

#[test]
fn a_device_that_floods_goes_away_or_says_nothing_costs_no_volume() {
    let site = site();
    let (daemon, mcap) = daemon(&site);
    let (port, path) = terminal();
    let adapter = adapter(&site, &daemon, &format!("serial:{path}"));
    let mut scanner = Scanner::of(&adapter);
    let mut port = Some(port);
    scanner.scan(VOLUMES, |k| {
        match k {
            // A terminal holds 4096 bytes.
            0 => port.as_ref().unwrap().write_all(&[b'5'; 3000]).unwrap(),
            1 => drop(port.take()),
            _ => {}
        }
    });
    scanner.end();
    let words = ["is gone", "the trigger device floods", "one trigger came at the start"];
    drop(adapter.finish().expect(0, &words));
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(recorded_volumes(&mcap), (0..VOLUMES.into()).collect());
    let (marks, counts) = recorded(&mcap);
    assert_eq!((marks.len(), counts.n, counts.n_bounces), (1, 1, 2999));
}

#[test]
fn a_run_without_triggers_says_so_and_a_wrong_device_ends_the_adapter() {
    let site = site();
    let (daemon, mcap) = daemon(&site);
    let (_port, path) = terminal();
    let silent = adapter(&site, &daemon, &format!("serial:{path}"));
    let mut scanner = Scanner::of(&silent);
    scanner.scan(VOLUMES, |_| {});
    scanner.end();
    drop(silent.finish().expect(0, &["no trigger has come, but 5 volumes have"]));
    assert_eq!(recorded(&mcap), (Vec::new(), TriggerCounts::default()));
    for (trigger, words) in [
        ("serial:/dev/no-such-port", "look at its name and its cable"),
        ("serial:/dev/null", "it is no serial port"),
        ("input:/dev/input/no-such-event", "cannot be opened"),
    ] {
        drop(adapter(&site, &daemon, trigger).finish().expect(1, &["--trigger", words]));
    }
    let unknown = adapter(&site, &daemon, "parallel:1").finish();
    drop(unknown.expect(2, &["expected keyboard[:KEY]"]));
    assert_eq!(daemon.stop().code, Some(0));
}
