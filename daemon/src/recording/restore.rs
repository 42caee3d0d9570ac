//! Continuing a session after a restart, from its recording.
//!
//! The recording is a log. Replaying its messages and commands through ingest and session rebuilds
//! the state of both. Results that were recorded keep their bytes; results that were lost when the
//! daemon died are published now.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::PoisonError,
};

use bytes::Bytes;
use corticast_wire::message::FromAdapter;
use serde_json::Value;

use super::{
    file::RecordingFile,
    format::{Entry, SESSION},
    reader::Recording,
};
use crate::{
    clock::monotonic_ns,
    intake::{ingest::Ingest, recorded::Recorded},
    product::{
        Product,
        results::{ConditionsReport, DecodedResult},
    },
    signal::{
        happening::{Event, Happening},
        session::Session,
    },
};

/// Conditions kept for results that are published now: as many as a crash can lose, and no more,
/// because conditions are large.
const KEPT_CONDITIONS: usize = 8;

/// A session read back from its recording.
pub struct Restored {
    /// The recording, open for writing.
    pub file: RecordingFile,
    /// The recorded results, and the missing ones.
    pub results: RestoredResults,
}

/// Results before the restart.
#[derive(Default)]
pub struct RestoredResults {
    /// JSON lines of the recorded results, in order.
    pub lines: Vec<Bytes>,
    /// Results that were not recorded, each followed by its conditions if these were kept.
    pub unpublished: Vec<Product>,
}

/// Key of a result: run, index, and the bits of the stimulus time.
type Key = (String, u64, u64);

fn key_of(result: &DecodedResult) -> Key {
    (result.run.to_string(), u64::from(result.index.0), result.stimulus_time_s.to_bits())
}

fn key_of_line(line: &[u8]) -> Option<Key> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let stimulus_time_s = value.get("stimulus_time_s")?.as_f64()?;
    let run = value.get("run")?.as_str()?.to_owned();
    Some((run, value.get("index")?.as_u64()?, stimulus_time_s.to_bits()))
}

/// Opens the recording and continues the session in it.
///
/// # Errors
///
/// Fails when the file cannot be written, is not a recording, or was made with another model,
/// mask or signal path.
pub fn restore(
    path: &Path,
    description: &Value,
    ingest: &mut Ingest,
    session: &mut Session,
    recorded: &Recorded,
) -> anyhow::Result<Restored> {
    let mut made: Vec<DecodedResult> = Vec::new();
    let mut newest: VecDeque<ConditionsReport> = VecDeque::with_capacity(KEPT_CONDITIONS);
    let mut lines: HashMap<Key, Bytes> = HashMap::new();
    let mut n_volume = 0_u32;
    // Checked before the file is opened for writing: another session's recording stays unchanged.
    if let Some(reason) = first_session(path).and_then(|entry| difference(&entry, description)) {
        anyhow::bail!(
            "{} was recorded {reason}; choose another file with --record or restore that setting",
            path.display()
        );
    }
    let file = RecordingFile::open(path, |entry| {
        if entry.topic == "concepts"
            && let Some(key) = key_of_line(&entry.data)
        {
            lines.insert(key, entry.data.clone());
        }
        let mut out = |product: Product| match product {
            Product::Result(result) => made.push(result),
            Product::Conditions(conditions) => {
                newest.truncate(KEPT_CONDITIONS - 1);
                newest.push_front(conditions);
            }
            _ => {}
        };
        let received_ns = monotonic_ns();
        if let Some(command) = entry.command() {
            for happening in ingest.command(command) {
                session.handle(happening, received_ns, &mut out);
            }
        }
        let Some(Ok((message, _))) = entry.frames().map(|frames| FromAdapter::parse(&frames))
        else {
            return;
        };
        for event in ingest.handle(message).events {
            if let Event::Volume(number, volume) = &event {
                let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                recorded.insert((*number, volume.header.index));
                n_volume += 1;
            }
            session.handle(Happening::Event(event), received_ns, &mut out);
        }
    })?;
    ingest.take_up();
    let mut results = RestoredResults::default();
    for result in made {
        match lines.remove(&key_of(&result)) {
            Some(line) => results.lines.push(line),
            None => {
                let same = |conditions: &&ConditionsReport| {
                    conditions.run == result.run
                        && conditions.index == result.index
                        && conditions.stimulus_time_s.to_bits() == result.stimulus_time_s.to_bits()
                };
                let conditions = newest.iter().find(same).cloned().map(Product::Conditions);
                results.unpublished.push(Product::Result(result));
                results.unpublished.extend(conditions);
            }
        }
    }
    if n_volume > 0 {
        let run = ingest.open_run().map(|run| run.name.to_string());
        tracing::info!(
            n_volume,
            open_run = run,
            n_unpublished = results.unpublished.len(),
            "the session continues from its recording"
        );
    }
    Ok(Restored { file, results })
}

/// The description of the session in a recording. `None` when the file is missing or is not a
/// recording; [`RecordingFile::open`] reports the latter.
fn first_session(path: &Path) -> Option<Entry> {
    Recording::open(path).ok()?.find(|entry| entry.topic == SESSION)
}

/// How the session of a recording differs from this one. `None` when they match.
fn difference(entry: &Entry, now: &Value) -> Option<String> {
    let then: Value = serde_json::from_slice(&entry.data).ok()?;
    let networks = |session: &Value| session.pointer("/model/networks").cloned();
    if networks(&then) != networks(now) {
        return Some("with another model".to_owned());
    }
    let differing = ["mask", "signal", "normalise", "decoder"].into_iter().find(|section| {
        then.pointer(&format!("/effective/{section}"))
            != now.pointer(&format!("/effective/{section}"))
    });
    differing.map(|section| format!("with another [{section}]"))
}
