//! Messages written and read back, and messages that are refused.

use bytes::Bytes;
use corticast_bold::{
    decode::{Dtype, Order},
    run::{RunEntities, RunHeader, SliceTimes},
    settings::Axis,
    space::VoxelSpace,
    time::{RepetitionTime, TrIndex},
};
use proptest::prelude::*;

use super::*;

fn header() -> RunHeader {
    let affine = [[3., 0., 0., -9.], [0., 3., 0., -9.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
    RunHeader {
        session: "s1".into(),
        entities: RunEntities::checked("01", None, Some("movie"), Some("1")).unwrap(),
        repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
        space: VoxelSpace::new([2, 3, 1], affine).unwrap(),
        n_volumes: Some(10),
        source: "test".into(),
        series_id: "a".into(),
        slice_times: Some(SliceTimes { times_s: vec![0.0], axis: Axis::Z }),
    }
}

fn triggers() -> TriggerCounts {
    TriggerCounts { n: 9, n_bounces: 2, drift_ms_per_min: Some(-1.5), ..TriggerCounts::default() }
}

fn volume(order: Order) -> VolumeMessage {
    let voxels: Vec<u8> = (0_i16..6).flat_map(i16::to_le_bytes).collect();
    let header = VolumeHeader {
        run: header().run_id(),
        index: TrIndex(3),
        acquisition_time_s: None,
        dtype: Dtype::Int16,
        shape: Some(vec![2, 3, 1]),
        order,
        crc32: Some(crc32fast::hash(&voxels)),
        slope: Some(2.0),
        intercept: Some(1.0),
        scanner_wall_time: None,
    };
    VolumeMessage { header, voxels: voxels.into() }
}

#[test]
fn every_message_reads_back_in_both_encodings() {
    let messages = [
        FromAdapter::Run { header: header(), resume: true },
        FromAdapter::Volume(volume(Order::C)),
        FromAdapter::Mark(Mark {
            run: "sub-01".into(),
            time_s: 1.5,
            name: "ttl".into(),
            value: None,
        }),
        FromAdapter::End(End { run: "sub-01".into(), n_sent: Some(9), triggers: Some(triggers()) }),
    ];
    for message in messages {
        for encoding in [Encoding::MessagePack, Encoding::Json] {
            let (back, found) = FromAdapter::parse(&message.to_frames(encoding)).unwrap();
            assert_eq!((back, found), (message.clone(), encoding));
        }
    }
    assert_eq!(
        FromAdapter::parse(&FromAdapter::Ping.to_frames(Encoding::Json)).unwrap().0,
        FromAdapter::Ping
    );
}

#[test]
fn damaged_short_and_misshapen_volumes_are_told_apart() {
    let space = &header().space;
    assert!(volume(Order::C).check(space).is_ok());
    let mut damaged = volume(Order::C);
    damaged.voxels = Bytes::from(vec![7; 12]);
    assert!(matches!(damaged.check(space), Err(MessageError::Checksum { .. })));
    let mut short = volume(Order::C);
    short.voxels = short.voxels.slice(..11);
    let message = short.check(space).unwrap_err().to_string();
    assert_eq!(message, "volume 3 has 11 bytes of voxels, expected 12");
    let mut misshapen = volume(Order::C);
    misshapen.header.shape = Some(vec![3, 2, 1]);
    assert!(matches!(misshapen.check(space), Err(MessageError::WrongMatrix { .. })));
}

#[test]
fn a_run_may_be_named_by_text_and_by_numbers() {
    let json = br#"{"run":{"sub":1,"task":"x"},"repetition_time_s":2,"matrix":[1,1,1],
        "affine":[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}"#;
    let frames = [Bytes::from_static(b"run"), Bytes::from_static(json)];
    let (FromAdapter::Run { header, .. }, _) = FromAdapter::parse(&frames).unwrap() else {
        panic!("a run");
    };
    assert_eq!(header.run_id(), "sub-1_task-x");
}

#[test]
fn an_invalid_value_names_its_key() {
    let json = br#"{"run":"sub-01","repetition_time_s":2000,"matrix":[1,1,1],
        "affine":[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}"#;
    let frames = [Bytes::from_static(b"run"), Bytes::from_static(json)];
    let message = FromAdapter::parse(&frames).unwrap_err().to_string();
    assert!(message.contains("`repetition_time_s`") && message.contains("2000"), "{message}");
}

proptest! {
    /// Counts and times of a peer are refused outside their range, and kept within it.
    #[test]
    fn counts_and_times_are_bounded(count: u32, time_s in any::<f64>()) {
        let parse = |kind: &'static str, json: String| {
            FromAdapter::parse(&[Bytes::from(kind), Bytes::from(json)]).is_ok()
        };
        let end = format!(r#"{{"run":"sub-01","n_sent":{count}}}"#);
        prop_assert_eq!(parse("end", end), count <= MAX_VOLUMES);
        let run = format!(
            r#"{{"run":"sub-01","repetition_time_s":2,"matrix":[1,1,1],"n_volumes":{count},
            "affine":[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}}"#
        );
        prop_assert_eq!(parse("run", run), count <= MAX_VOLUMES);
        let mark = Mark { run: "sub-01".into(), time_s, name: "ttl".into(), value: None };
        let frames = FromAdapter::Mark(mark).to_frames(Encoding::MessagePack);
        prop_assert_eq!(FromAdapter::parse(&frames).is_ok(), time_s.abs() <= 1e8);
        let mut volume = volume(Order::C);
        volume.header.acquisition_time_s = Some(time_s);
        let frames = FromAdapter::Volume(volume).to_frames(Encoding::MessagePack);
        prop_assert_eq!(FromAdapter::parse(&frames).is_ok(), time_s.abs() <= 1e8);
    }

    /// Parsing any bytes gives a message or an error, never a panic.
    #[test]
    fn foreign_bytes_never_panic(
        kind in prop_oneof![Just(b"run".to_vec()), Just(b"vol".to_vec()),
            Just(b"mark".to_vec()), Just(b"end".to_vec()), any::<Vec<u8>>()],
        rest in proptest::collection::vec(any::<Vec<u8>>(), 0..4),
    ) {
        let frames: Vec<Bytes> =
            std::iter::once(kind).chain(rest).map(Bytes::from).collect();
        if let Ok((FromAdapter::Volume(volume), _)) = FromAdapter::parse(&frames)
            && volume.check(&header().space).is_ok()
        {
            prop_assert!(volume.stored(&header()).signal().is_ok());
        }
        prop_assert!(ToAdapter::parse(&frames).is_ok() || ToAdapter::parse(&frames).is_err());
    }
}
