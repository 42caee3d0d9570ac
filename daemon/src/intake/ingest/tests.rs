use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order},
    run::RunEntities,
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use corticast_wire::message::VolumeHeader;
use proptest::prelude::*;

use super::*;
use crate::signal::happening::RunNumber;

fn header(series: &str) -> RunHeader {
    let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    RunHeader {
        session: String::new(),
        entities: RunEntities::checked("01", None, None, Some("1")).unwrap(),
        repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
        space: VoxelSpace::new([2, 1, 1], affine).unwrap(),
        n_volumes: None,
        source: String::new(),
        series_id: series.to_owned(),
        slice_times: None,
    }
}

fn volume(index: u32, content: u8) -> FromAdapter {
    let header = VolumeHeader {
        run: "sub-01_run-1".to_owned(),
        index: TrIndex(index),
        acquisition_time_s: None,
        dtype: Dtype::Int16,
        shape: None,
        order: Order::C,
        crc32: None,
        slope: None,
        intercept: None,
        scanner_wall_time: None,
    };
    FromAdapter::Volume(VolumeMessage { header, voxels: Bytes::from(vec![content, 1, 2, 3]) })
}

fn ingest(durability: Durability) -> (Ingest, Recorded) {
    let recorded = Recorded::default();
    let admission: Admission = Arc::new(|header, _| match header.space.matrix() {
        [2, 1, 1] => Ok(()),
        other => Err(format!("matrix {other:?}")),
    });
    let copies = ContentDuplicates::Drop;
    (Ingest::new(admission, "i".into(), durability, copies, Arc::clone(&recorded)), recorded)
}

fn run(series: &str, resume: bool) -> FromAdapter {
    FromAdapter::Run { header: header(series), resume }
}

fn end() -> FromAdapter {
    FromAdapter::End(End { run: "sub-01_run-1".to_owned(), n_sent: None, triggers: None })
}

fn ready(verdict: &Verdict) -> &Ready {
    match verdict.replies.as_slice() {
        [ToAdapter::Ready(ready)] => ready,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_duplicate_is_acknowledged_only_once_it_is_recorded() {
    let (mut ingest, recorded) = ingest(Durability::Flush);
    ingest.handle(run("a", false));
    assert_eq!(ingest.handle(volume(0, 0)).events.len(), 1);
    let again = ingest.handle(volume(0, 0));
    assert!(again.duplicate && again.replies.is_empty() && again.acknowledge.is_some());
    recorded.lock().unwrap().insert(RunNumber(0), TrIndex(0));
    let again = ingest.handle(volume(0, 0));
    assert!(matches!(again.replies.as_slice(), [ToAdapter::Ack(_)]));
    assert!(again.events.is_empty());
}

#[test]
fn a_copy_that_lies_about_its_number_is_dropped_and_a_blank_volume_is_no_copy() {
    let (mut ingest, _) = ingest(Durability::None);
    ingest.handle(run("a", false));
    ingest.handle(volume(0, 0));
    let copy = ingest.handle(volume(7, 0));
    assert!(matches!(copy.problem, Some(IngestError::Copy { index: 7, same_as: 0, .. })));
    let blank = |index| match volume(index, 0) {
        FromAdapter::Volume(volume) => {
            FromAdapter::Volume(VolumeMessage { voxels: Bytes::from_static(&[0; 4]), ..volume })
        }
        other => other,
    };
    assert_eq!(ingest.handle(blank(1)).events.len(), 1);
    assert_eq!(ingest.handle(blank(2)).events.len(), 1);
}

/// An adapter that was started again skips the volumes before `next_index`, so they have to be safe.
#[test]
fn an_adapter_that_starts_again_sends_what_is_not_recorded() {
    let (mut ingest, recorded) = ingest(Durability::Flush);
    ingest.handle(run("a", false));
    for index in 0..4 {
        ingest.handle(volume(index, index as u8));
    }
    assert_eq!(ready(&ingest.handle(run("a", false))).next_index, 0);
    for index in [0, 1, 3] {
        recorded.lock().unwrap().insert(RunNumber(0), TrIndex(index));
    }
    assert_eq!(ready(&ingest.handle(run("a", false))).next_index, 2);
}

#[test]
fn a_run_that_goes_on_after_a_restart_is_the_same_run() {
    let (mut ingest, _) = ingest(Durability::None);
    ingest.handle(run("a", false));
    ingest.handle(volume(0, 0));
    let again = ingest.handle(run("a", true));
    assert_eq!(ready(&again).next_index, 1);
    assert!(again.events.is_empty());
    ingest.handle(end());
    let late = ingest.handle(run("a", true));
    assert!(late.events.is_empty(), "only our acknowledgement was lost");
    assert!(ingest.handle(end()).duplicate);
}

#[test]
fn a_second_run_without_an_end_ends_the_first_and_a_repeat_gets_its_own_name() {
    let (mut ingest, _) = ingest(Durability::None);
    ingest.handle(run("a", false));
    let second = ingest.handle(run("b", false));
    assert_eq!(ready(&second).run, "sub-01_run-1+2");
    assert!(matches!(second.problem, Some(IngestError::NoEnd { .. })));
    let by = EndedBy::Interruption;
    assert!(matches!(second.events[0], Event::RunEnded { by: b, .. } if b == by));
}

#[test]
fn what_comes_after_the_operator_ended_the_run_is_refused_for_good() {
    let (mut ingest, _) = ingest(Durability::None);
    ingest.handle(run("a", false));
    assert!(ingest.end_open_run(EndedBy::Operator).is_some());
    assert!(matches!(
        ingest.handle(volume(0, 0)).replies.as_slice(),
        [ToAdapter::Refused(Refused { code: RefusalCode::UnknownRun, .. })]
    ));
    assert!(matches!(
        ingest.handle(run("a", true)).replies.as_slice(),
        [ToAdapter::Refused(Refused { code: RefusalCode::RunRefused, .. })]
    ));
}

proptest! {
    /// Each volume is accepted once, however often it is sent.
    #[test]
    fn each_volume_is_accepted_once(sent in proptest::collection::vec(0_u32..20, 0..80)) {
        let (mut ingest, _) = ingest(Durability::None);
        ingest.handle(run("a", false));
        let accepted: usize =
            sent.iter().map(|&i| ingest.handle(volume(i, i as u8)).events.len()).sum();
        let distinct: HashSet<u32> = sent.into_iter().collect();
        prop_assert_eq!(accepted, distinct.len());
    }
}
