//! Taking up a session after a restart, from its recording.
//!
//! The recording is a log. Its messages and commands go through ingest and session again,
//! which leaves both as they were; results that had been recorded keep their bytes, and those
//! that the death of the daemon cut off are given out now.

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

/// Conditions that are kept to be given out with their results: as many as a death can cut off,
/// and no more, because they are large.
const KEPT_CONDITIONS: usize = 8;

/// What a restart found.
pub struct Restored {
    /// The recording, to go on with.
    pub file: RecordingFile,
    /// The results it held, and those it should have held.
    pub results: RestoredResults,
}

/// Results before the restart.
#[derive(Default)]
pub struct RestoredResults {
    /// Lines that were recorded, in order.
    pub lines: Vec<Bytes>,
    /// Results that were not.
    pub unpublished: Vec<Product>,
}

/// What tells one result from another.
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

/// Opens the recording and takes up what is in it.
///
/// # Errors
///
/// Fails when the file cannot be written, is no recording, or was made with another model,
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
    // Before the file is touched: a recording of something else is left as it is.
    if let Some(reason) = first_session(path).and_then(|entry| difference(&entry, description)) {
        anyhow::bail!(
            "{} was recorded {reason}; give --record another name, or use what it was made with",
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
            "the session is taken up from its recording"
        );
    }
    Ok(Restored { file, results })
}

/// How the session in a recording was configured. `None` when there is no recording yet; what
/// is wrong with a file that is none is said by [`RecordingFile::open`].
fn first_session(path: &Path) -> Option<Entry> {
    Recording::open(path).ok()?.find(|entry| entry.topic == SESSION)
}

/// In what a recording's session differs from this one, if it does.
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
