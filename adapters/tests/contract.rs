//! What each adapter does about each fault. One list makes the tests and the table of
//! docs/adapters.md. Recorded files (`nifti`, `bids`) have no sender, so their faults are files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "contract/recorded.rs"]
mod recorded;
#[path = "contract/senders/mod.rs"]
mod senders;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use corticast_adapter::adapter::ScannerAdapter;

use self::senders::{Sender, open};

/// No step takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const ADAPTERS: [&str; 7] = ["afni", "mrd", "murfi", "pyneal", "parrec", "dicom", "store"];

/// A fault: what happens, what comes of it, what the sender does, the volumes that must arrive as
/// run and index, whether something counts as refused, and the adapters it cannot happen to.
struct Fault {
    name: &'static str,
    outcome: &'static str,
    act: fn(&mut dyn Sender),
    arrives: &'static [(u8, u32)],
    is_refused: bool,
    not_for: &'static [(&'static str, &'static str)],
}

/// The last volume of each list shows that the adapter goes on.
const FAULTS: [Fault; 10] = [
    Fault {
        name: "sender gone",
        outcome: "the run ends; the next sender begins another",
        act: |sender| {
            sender.volume(1, 0);
            sender.volume(1, 1);
            sender.gone();
            sender.volume(2, 0);
        },
        arrives: &[(1, 0), (1, 1), (2, 0)],
        is_refused: false,
        not_for: &[],
    },
    Fault {
        name: "cut within a volume",
        outcome: "this volume is lost and named; those before stay",
        act: |sender| {
            sender.volume(1, 0);
            sender.cut(1, 1);
            sender.volume(2, 0);
        },
        arrives: &[(1, 0), (2, 0)],
        is_refused: true,
        not_for: &[("pyneal", "ZeroMQ passes on whole messages only")],
    },
    Fault {
        name: "garbage",
        outcome: "refused with what was expected; the next sender is served",
        act: |sender| {
            sender.garbage();
            sender.volume(1, 0);
        },
        arrives: &[(1, 0)],
        is_refused: true,
        not_for: &[],
    },
    Fault {
        name: "absurd length",
        outcome: "refused before memory is taken",
        act: |sender| {
            sender.absurd();
            sender.volume(1, 0);
        },
        arrives: &[(1, 0)],
        is_refused: true,
        not_for: &[],
    },
    Fault {
        name: "another shape within a run",
        outcome: "this volume is refused; the run goes on",
        act: |sender| {
            sender.volume(1, 0);
            sender.other_shape(1, 1);
            sender.volume(1, 2);
        },
        arrives: &[(1, 0), (1, 2)],
        is_refused: true,
        not_for: &[("afni", "the shape is said once a run")],
    },
    Fault {
        name: "duplicate volume",
        outcome: "dropped and counted",
        act: |sender| {
            sender.volume(1, 0);
            sender.volume(1, 1);
            sender.volume(1, 1);
            sender.volume(1, 2);
        },
        arrives: &[(1, 0), (1, 1), (1, 2)],
        is_refused: false,
        not_for: &[("afni", "volumes have no numbers; the daemon drops equal bytes")],
    },
    Fault {
        name: "volume out of order",
        outcome: "passed on with its own index",
        act: |sender| {
            sender.volume(1, 0);
            sender.volume(1, 2);
            sender.volume(1, 1);
            sender.volume(1, 3);
        },
        arrives: &[(1, 0), (1, 1), (1, 2), (1, 3)],
        is_refused: false,
        not_for: &[("afni", "volumes have no numbers")],
    },
    Fault {
        name: "the scan goes on after its sender was gone",
        outcome: "the run goes on, with its name and its numbers",
        act: |sender| {
            sender.volume(1, 0);
            sender.volume(1, 1);
            sender.gone();
            sender.volume(1, 2);
        },
        arrives: &[(1, 0), (1, 1), (1, 2)],
        is_refused: false,
        not_for: &[("afni", "a connection is a run"), ("mrd", "a connection is a run")],
    },
    Fault {
        name: "the scan is repeated",
        outcome: "another run, with numbers of its own",
        act: |sender| {
            sender.volume(1, 0);
            sender.volume(1, 1);
            sender.gone();
            sender.volume(2, 0);
            sender.volume(2, 1);
            sender.volume(2, 2);
        },
        arrives: &[(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)],
        is_refused: false,
        not_for: &[],
    },
    Fault {
        name: "missing volume",
        outcome: "a gap in the index",
        act: |sender| {
            sender.volume(1, 0);
            sender.volume(1, 2);
        },
        arrives: &[(1, 0), (1, 2)],
        is_refused: false,
        not_for: &[("afni", "volumes have no numbers")],
    },
];

/// Runs an adapter in a thread; its volumes as run and index.
fn hear(mut adapter: Box<dyn ScannerAdapter>) -> (mpsc::Receiver<(u8, u32)>, Arc<AtomicU64>) {
    let (sender, volumes) = mpsc::sync_channel(64);
    let refused = adapter.refused().unwrap();
    thread::spawn(move || {
        while let Some(header) = adapter.start_run().unwrap() {
            let run = header.entities.run.unwrap().parse().unwrap();
            while let Some(volume) = adapter.next_volume().unwrap() {
                let fits = volume.clone().into_message("sub-x");
                fits.check(&header.space).unwrap();
                if sender.send((run, volume.index.0)).is_err() {
                    return;
                }
            }
        }
    });
    (volumes, refused)
}

fn check(adapter: &str, fault: &Fault) {
    let (opened, mut sender) = open(adapter);
    let (volumes, refused) = hear(opened);
    (fault.act)(sender.as_mut());
    let mut arrived: Vec<_> =
        fault.arrives.iter().map_while(|_| volumes.recv_timeout(PATIENCE).ok()).collect();
    // Some wait for a volume that is late, others do not.
    arrived.sort_unstable();
    assert_eq!(arrived, fault.arrives, "{adapter}: {}", fault.name);
    // A pair that is incomplete is refused later than a whole one is read.
    let started = Instant::now();
    while fault.is_refused && refused.load(Ordering::Relaxed) == 0 {
        assert!(started.elapsed() < PATIENCE, "{adapter}: {}: nothing was refused", fault.name);
        volumes.recv_timeout(Duration::from_millis(5)).unwrap_err();
    }
    let n_refused = refused.load(Ordering::Relaxed);
    assert_eq!(n_refused > 0, fault.is_refused, "{adapter}: {}: {n_refused}", fault.name);
}

fn all_faults_of(adapter: &str) {
    for fault in &FAULTS {
        if !fault.not_for.iter().any(|(name, _)| *name == adapter) {
            check(adapter, fault);
        }
    }
}

#[test]
fn afni() {
    all_faults_of("afni");
}

#[test]
fn mrd() {
    all_faults_of("mrd");
}

#[test]
fn murfi() {
    all_faults_of("murfi");
}

#[test]
fn pyneal() {
    all_faults_of("pyneal");
}

#[test]
fn parrec() {
    all_faults_of("parrec");
}

#[test]
fn dicom() {
    all_faults_of("dicom");
}

#[test]
fn store() {
    all_faults_of("store");
}

/// The table, as it stands in the docs.
fn table() -> String {
    let names = ADAPTERS.iter().chain(&recorded::ADAPTERS).copied().collect::<Vec<_>>();
    let mut table = format!("| fault | what comes of it | {} |\n", names.join(" | "));
    table += &format!("|---|---|{}\n", "---|".repeat(names.len()));
    for fault in &FAULTS {
        let cells = ADAPTERS.map(|adapter| {
            let reason = fault.not_for.iter().find(|(name, _)| *name == adapter);
            reason.map_or("yes", |(_, reason)| *reason)
        });
        let recorded = recorded::cells(fault.name);
        let cells = cells.into_iter().chain(recorded).collect::<Vec<_>>();
        table += &format!("| {} | {} | {} |\n", fault.name, fault.outcome, cells.join(" | "));
    }
    table
}

#[test]
fn the_docs_show_the_table_that_is_tested() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/adapters.md");
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.contains(&table()), "docs/adapters.md must hold this table:\n{}", table());
}
