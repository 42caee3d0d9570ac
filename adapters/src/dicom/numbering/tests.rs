//! Tests of which volume an image is, with the numbers and times that exports write.

use super::*;

const TR_S: f64 = 2.0;

/// An image with AcquisitionNumber and InstanceNumber, 0 for none, acquired at this second.
fn facts(acquisition: u32, instance: u32, second: f64) -> Facts {
    let some = |number: u32| Some(number).filter(|number| *number > 0);
    Facts {
        numbers: Numbers {
            temporal: None,
            acquisition: some(acquisition),
            instance: some(instance),
        },
        time: Some(Moment { day: 0, us: (second * 1e6) as i64 }),
        content: None,
        is_counted: false,
        crc32: acquisition * 1000 + instance * 10 + (second * 1e5) as u32,
    }
}

fn untimed(acquisition: u32, instance: u32) -> Facts {
    Facts { time: None, ..facts(acquisition, instance, 0.0) }
}

/// The index of each image, once all have come; no image may be refused.
fn placed(images: &[Facts], tr_s: Option<f64>) -> Vec<u32> {
    let tr = tr_s.map(|tr_s| RepetitionTime::from_secs(tr_s).unwrap());
    let mut numbering = Numbering::default();
    let mut indices = Vec::new();
    for facts in images {
        let was_begun = numbering.is_begun();
        let index = numbering.index(*facts, tr).unwrap();
        if was_begun {
            indices.push(index.0);
        } else {
            indices = numbering.first_indices().map(|index| index.0).collect();
        }
    }
    if !numbering.is_begun() {
        numbering.begin();
        indices = numbering.first_indices().map(|index| index.0).collect();
    }
    assert_eq!(numbering.len(), images.len());
    let last = indices.iter().max().unwrap() + 1;
    assert_eq!(numbering.n_missing(), last as usize - images.len());
    indices
}

fn indices(images: &[Facts]) -> Vec<u32> {
    placed(images, Some(TR_S))
}

/// What became of the last image.
fn last(images: &[Facts]) -> Result<u32, NoNumber> {
    let tr = RepetitionTime::from_secs(TR_S).ok();
    let mut numbering = Numbering::default();
    let indices: Vec<_> = images.iter().map(|facts| numbering.index(*facts, tr)).collect();
    indices.last().copied().unwrap().map(|index| index.0)
}

#[test]
fn a_number_that_is_the_same_everywhere_gives_way_to_one_that_counts() {
    let images = [facts(1, 1, 0.0), facts(1, 2, 2.0), facts(1, 4, 6.0), facts(1, 3, 4.0)];
    assert_eq!(indices(&images), [0, 1, 3, 2]);
    let images = [facts(21, 1, 0.0), facts(21, 2, 2.0), facts(21, 4, 6.0)];
    assert_eq!(indices(&images), [0, 1, 3]);
    // The adapter started late.
    assert_eq!(indices(&[facts(1, 5, 8.0), facts(1, 6, 10.0)]), [4, 5]);
    assert_eq!(indices(&[facts(5, 5, 8.0), facts(6, 6, 10.0)]), [4, 5]);
}

#[test]
fn numbers_that_count_in_steps_make_no_gaps_and_a_volume_that_lacks_does() {
    for step in [2, 3, 10] {
        for start in [1, step] {
            let image = |volume: u32, instance: u32| {
                facts(start + step * volume, instance, TR_S * f64::from(volume))
            };
            // Beside an InstanceNumber that counts by one, that is 1 everywhere, and that lacks.
            for instance in [|volume| volume + 1, |_| 1, |_| 0] {
                let images = [0, 1, 2, 4, 5].map(|volume| image(volume, instance(volume)));
                assert_eq!(indices(&images), [0, 1, 2, 4, 5], "step {step} from {start}");
                let images = [0, 2, 3, 1].map(|volume| image(volume, instance(volume)));
                assert_eq!(indices(&images), [0, 2, 3, 1], "step {step} from {start}");
            }
            // Without times, InstanceNumber tells, or else three images do.
            let bare = |volume, instance| Facts { time: None, ..image(volume, instance) };
            let images = [0, 1, 2, 4].map(|volume| bare(volume, volume + 1));
            assert_eq!(indices(&images), [0, 1, 2, 4], "step {step} from {start}");
            let images = [0, 1, 2, 4].map(|volume| bare(volume, 0));
            assert_eq!(indices(&images), [0, 1, 2, 4], "step {step} from {start}");
        }
    }
}

#[test]
fn a_number_that_begins_anywhere_makes_no_gap_before_the_first_volume() {
    let images = [0, 1, 3].map(|v| facts(11 + v, 1 + v, TR_S * f64::from(v)));
    assert_eq!(indices(&images), [0, 1, 3]);
    let images = [0, 1, 3].map(|v| facts(301 + 5 * v, 1 + v, TR_S * f64::from(v)));
    assert_eq!(indices(&images), [0, 1, 3]);
}

#[test]
fn a_gap_is_told_wherever_it_is_and_a_jump_of_the_number_alone_is_none() {
    let at = |volume: u32| facts(volume + 1, volume + 1, TR_S * f64::from(volume));
    assert_eq!(indices(&[at(0), at(2), at(3)]), [0, 2, 3]);
    assert_eq!(indices(&[at(0), at(1), at(2), at(4)]), [0, 1, 2, 4]);
    assert_eq!(indices(&[untimed(1, 1), untimed(3, 3), untimed(4, 4)]), [0, 2, 3]);
    // No time passed in which the volume that lacks was acquired.
    let jump = facts(9, 9, TR_S * 3.0);
    assert_eq!(indices(&[at(0), at(1), at(2), jump]), [0, 1, 2, 3]);
    // One InstanceNumber for each echo.
    let images = [0, 1, 3].map(|v| facts(v + 1, 2 * v + 1, TR_S * f64::from(v)));
    assert_eq!(indices(&images), [0, 1, 3]);
}

#[test]
fn a_clock_or_repetition_time_that_is_wrong_does_not_outweigh_the_numbers() {
    let second = |volume: u32| facts(volume + 1, volume + 1, 4.0 * f64::from(volume));
    assert_eq!(indices(&[0, 1, 2, 4].map(second)), [0, 1, 2, 4], "true TR 4 s");
    let second = |volume: u32| facts(volume + 1, volume + 1, 1.0 * f64::from(volume));
    assert_eq!(indices(&[0, 1, 2, 4].map(second)), [0, 1, 2, 4], "true TR 1 s");
    let still = |volume: u32| facts(volume + 1, volume + 1, 5.0);
    assert_eq!(indices(&[0, 1, 2, 4].map(still)), [0, 1, 2, 4], "times removed");
    let jumps = [facts(1, 1, 0.0), facts(2, 2, 3600.0), facts(3, 3, 4.0), facts(4, 4, 6.0)];
    assert_eq!(indices(&jumps), [0, 1, 2, 3]);
}

#[test]
fn numbers_that_are_all_one_leave_it_to_the_times_in_any_order() {
    let at = |volume: u32| facts(1, 1, TR_S * f64::from(volume));
    assert_eq!(indices(&[0, 1, 3].map(at)), [0, 1, 3]);
    assert_eq!(indices(&[1, 0, 2].map(at)), [1, 0, 2], "the second file came first");
    assert_eq!(indices(&[2, 1, 0, 3].map(at)), [2, 1, 0, 3]);
    assert_eq!(placed(&[1, 0, 2].map(at), None), [1, 0, 2], "without a repetition time");
    // Only the content has a time of its own, which is not exact.
    let content = |second: f64| Facts {
        content: facts(1, 1, second).time,
        crc32: (second * 10.0) as u32,
        ..facts(1, 1, 0.0)
    };
    assert_eq!(indices(&[0.3, 2.2, 2.9, 5.7].map(content)), [0, 1, 2, 3]);
    assert_eq!(indices(&[2.2, 0.3, 4.1].map(content)), [1, 0, 2]);
    // Nothing tells them apart.
    let other = Facts { crc32: 7, ..untimed(1, 1) };
    assert_eq!(last(&[untimed(1, 1), other]), Err(NoNumber::Taken(TrIndex(0))));
    // Slices that were counted follow each other.
    let counted = |crc32| Facts { is_counted: true, crc32, ..untimed(0, 0) };
    assert_eq!(indices(&[1, 2, 3].map(counted)), [0, 1, 2]);
}

#[test]
fn numbers_that_begin_anew_give_way_to_the_time() {
    let anew = [facts(1, 1, 0.0), facts(2, 2, 2.0), facts(1, 1, 10.0), facts(2, 2, 12.0)];
    assert_eq!(indices(&anew), [0, 1, 5, 6]);
}

#[test]
fn an_image_before_the_first_is_refused_by_name_once_that_was_sent() {
    let tr = RepetitionTime::from_secs(TR_S).ok();
    let mut numbering = Numbering::default();
    numbering.index(facts(1, 1, 4.0), tr).unwrap();
    numbering.begin();
    let early = numbering.index(facts(1, 1, 0.0), tr);
    assert_eq!(early, Err(NoNumber::TooEarly(2)));
    assert_eq!(numbering.index(facts(1, 1, 6.0), tr).unwrap(), TrIndex(1));
}

#[test]
fn copies_are_told_from_other_images_with_the_same_numbers() {
    let (first, second) = (facts(1, 1, 0.0), facts(2, 2, 2.0));
    assert_eq!(last(&[first, second, second]), Err(NoNumber::Copy));
    assert_eq!(last(&[first, second, first]), Err(NoNumber::Copy));
    let other = Facts { crc32: 7, ..second };
    assert_eq!(last(&[first, second, other]), Err(NoNumber::Taken(TrIndex(1))));
    let one = |volume: u32| facts(1, 1, TR_S * f64::from(volume));
    assert_eq!(last(&[one(0), one(1), one(0)]), Err(NoNumber::Copy));
}
