//! The 3-D files of a folder as the volumes of one run.
//!
//! Names count: `f0001.nii`, `f0002.nii`. A number that lacks is a volume that never came, so later
//! volumes keep their time. Names can count in steps (10, 20, 30); steps of two are taken for gaps,
//! because nothing else tells one from the other, and both are named. A file whose name does not count on, such as the mean image that
//! realignment leaves, is left out with a warning. If that is not clear, the folder is refused, and
//! `--pattern` chooses.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    beside::{entries, file_name, image_extension},
    error::AdapterError,
    natural::natural,
    pattern::wild,
};

/// Names that a message shows.
const SHOWN: usize = 6;

/// A file, and the position of its volume in the run.
pub(super) type Numbered = (u32, PathBuf);

/// The volumes in a folder, in the order of their indices. `pattern`: with `*` for any text and `?`
/// for any one character.
///
/// # Errors
///
/// Fails when the folder cannot be listed, holds no image, or holds several series.
pub(super) fn volumes_in(
    folder: &Path,
    pattern: Option<&str>,
) -> Result<Vec<Numbered>, AdapterError> {
    let malformed = |reason| AdapterError::Malformed { path: folder.to_owned(), reason };
    let names: Vec<String> = entries(folder)?.iter().map(|path| file_name(path)).collect();
    let is_wanted = |name: &&String| pattern.is_none_or(|pattern| wild(pattern, name));
    let mut images: Vec<&String> =
        names.iter().filter(|name| is_volume(name, &names)).filter(is_wanted).collect();
    images.sort_by(|a, b| natural(a, b));
    if images.is_empty() {
        let what = pattern.map(|pattern| format!(" that matches {pattern:?}")).unwrap_or_default();
        return Err(malformed(format!(
            "no .nii, .nii.gz or .img image{what} in this folder, {} other files",
            names.len()
        )));
    }
    let chosen = one_series(&images).map_err(malformed)?;
    let indices = indices(&chosen);
    Ok(indices.into_iter().zip(chosen.iter().map(|name| folder.join(name))).collect())
}

/// Whether a file is a volume. A pair is one volume: its `.img`.
fn is_volume(name: &str, all: &[String]) -> bool {
    let Some(extension) = image_extension(name).filter(|_| !name.starts_with('.')) else {
        return false;
    };
    let stem = &name[..name.len() - extension.len()];
    let has = |ends: [&str; 2]| {
        all.iter().any(|other| {
            other.strip_prefix(stem).is_some_and(|end| ends.contains(&&*end.to_ascii_lowercase()))
        })
    };
    match &*extension.to_ascii_lowercase() {
        ".hdr" | ".hdr.gz" => !has([".img", ".img.gz"]),
        _ => true,
    }
}

/// A name with its numbers, and the text around them.
fn parts(name: &str) -> (String, Vec<&str>) {
    let numbers = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let mut text = String::new();
    for c in name.chars() {
        match c.is_ascii_digit() {
            true if text.ends_with('#') => {}
            true => text.push('#'),
            false => text.push(c),
        }
    }
    (text, numbers.collect())
}

/// The names of the only series, or of one that all but a few names belong to.
fn one_series<'a>(names: &[&'a String]) -> Result<Vec<&'a String>, String> {
    let mut series: BTreeMap<String, Vec<&'a String>> = BTreeMap::new();
    for &name in names {
        series.entry(parts(name).0).or_default().push(name);
    }
    let Some(largest) = series.values().max_by_key(|names| names.len()) else {
        return Ok(Vec::new());
    };
    // Names without a common form, such as `a.nii` and `b.nii`, are taken as they come.
    if series.len() == 1 || largest.len() == 1 {
        return Ok(names.to_vec());
    }
    let chosen = largest.clone();
    let others: Vec<&str> =
        names.iter().filter(|name| !chosen.contains(name)).map(|name| name.as_str()).collect();
    if others.len() * 4 > chosen.len() {
        let forms: Vec<String> = series
            .values()
            .take(SHOWN)
            .map(|names| format!("{} like {}", names.len(), names[0]))
            .collect();
        return Err(format!(
            "{} series of files, expected one: {}; choose with --pattern 'f*.nii'",
            series.len(),
            forms.join(", ")
        ));
    }
    tracing::warn!(
        n_volume = chosen.len(),
        "left out, their names do not count on: {}; --pattern chooses other files",
        listed(&others)
    );
    Ok(chosen)
}

/// The position of each file, from the number that counts in its name; otherwise its place in order.
fn indices(names: &[&String]) -> Vec<u32> {
    let in_order = || (0..u32::try_from(names.len()).unwrap_or(u32::MAX)).collect();
    let Some(numbers) = counting(names) else { return in_order() };
    let gaps: Vec<u64> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let Some(&least) = gaps.iter().min() else { return in_order() };
    // Every second number: more likely half of the files lack than that names count by two.
    let step = if least == 2 { 1 } else { least };
    let span = numbers[numbers.len() - 1] - numbers[0];
    let n_volume = span / step.max(1) + 1;
    let (first, last) = (names[0], names[names.len() - 1]);
    // Names that are times or that jump do not count.
    let most = if step == least { 2 } else { 4 } * numbers.len() as u64;
    let counts = step > 0 && gaps.iter().all(|gap| gap % least == 0) && n_volume <= most;
    if !counts {
        tracing::warn!(
            "the names of the volumes do not count evenly ({first} to {last}): taken in order, \
             without gaps"
        );
        return in_order();
    }
    if step > 1 {
        tracing::warn!(
            "the names of the volumes count in steps of {step} ({first} to {last}): taken as volumes \
             one after another"
        );
    }
    let index = |number: &u64| ((number - numbers[0]) / step) as u32;
    let missing: Vec<String> = numbers
        .windows(2)
        .flat_map(|pair| (1..(pair[1] - pair[0]) / step).map(move |k| pair[0] + k * step))
        .map(|number| number.to_string())
        .collect();
    if !missing.is_empty() {
        let shown: Vec<&str> = missing.iter().map(String::as_str).collect();
        tracing::warn!(
            n_missing = missing.len(),
            "no file has the number {}: {}",
            listed(&shown),
            if missing.len() == 1 { "this volume is a gap" } else { "these volumes are gaps" }
        );
    }
    numbers.iter().map(index).collect()
}

/// The only number that differs between the names, rising; `None` if several differ or none does.
fn counting(names: &[&String]) -> Option<Vec<u64>> {
    let fields: Vec<Vec<&str>> = names.iter().map(|name| parts(name).1).collect();
    let first = fields.first()?;
    if fields.iter().any(|numbers| numbers.len() != first.len()) {
        return None;
    }
    let differs = |at: &usize| fields.iter().any(|numbers| numbers[*at] != first[*at]);
    let mut differing = (0..first.len()).filter(differs);
    let (at, None) = (differing.next()?, differing.next()) else { return None };
    let numbers: Option<Vec<u64>> = fields.iter().map(|numbers| numbers[at].parse().ok()).collect();
    numbers.filter(|numbers| numbers.is_sorted_by(|a, b| a < b))
}

fn listed(names: &[&str]) -> String {
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(names: &[&str], pattern: Option<&str>) -> Result<Vec<(u32, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let volumes = volumes_in(folder.path(), pattern).map_err(|error| error.to_string())?;
        Ok(volumes.into_iter().map(|(index, path)| (index, file_name(&path))).collect())
    }

    fn numbered(prefix: &str, numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(|n| format!("{prefix}{n:04}.nii")).collect()
    }

    fn borrowed(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_number_that_lacks_is_a_gap() {
        let names = numbered("f", &[1, 2, 3, 6, 7]);
        let indices: Vec<u32> =
            found(&borrowed(&names), None).unwrap().into_iter().map(|(index, _)| index).collect();
        assert_eq!(indices, [0, 1, 2, 5, 6]);
        let even = numbered("f", &[10, 20, 30, 50]);
        let indices: Vec<u32> =
            found(&borrowed(&even), None).unwrap().into_iter().map(|(index, _)| index).collect();
        assert_eq!(indices, [0, 1, 2, 4]);
    }

    #[test]
    fn every_second_number_is_a_gap_and_larger_steps_are_a_way_to_count() {
        let indices = |numbers: &[u32]| -> Vec<u32> {
            let names = numbered("f", numbers);
            found(&borrowed(&names), None).unwrap().into_iter().map(|(index, _)| index).collect()
        };
        assert_eq!(indices(&[1, 3, 5]), [0, 2, 4]);
        assert_eq!(indices(&[2, 4, 6, 8, 12]), [0, 2, 4, 6, 10]);
        assert_eq!(indices(&[3, 6, 9, 15]), [0, 1, 2, 4]);
        assert_eq!(indices(&[1, 11, 21]), [0, 1, 2]);
    }

    #[test]
    fn times_and_plain_names_are_taken_in_order() {
        let times = ["a_101500.nii", "a_101502.nii", "a_101504.nii", "a_101909.nii"];
        assert_eq!(found(&times, None).unwrap()[3].0, 3);
        assert_eq!(found(&["a.nii", "b.nii"], None).unwrap()[1], (1, "b.nii".to_owned()));
        let two = ["r1_v1.nii", "r1_v2.nii", "r2_v1.nii"];
        assert_eq!(found(&two, None).unwrap()[2], (2, "r2_v1.nii".to_owned()));
        let padded = ["v8.nii", "v9.nii", "v10.nii"];
        assert_eq!(found(&padded, None).unwrap()[2], (2, "v10.nii".to_owned()));
    }

    #[test]
    fn a_mean_image_is_left_out_and_two_series_are_refused() {
        let mut names = numbered("f", &[1, 2, 3, 4, 5, 6]);
        names.push("meanf0001.nii".to_owned());
        assert_eq!(found(&borrowed(&names), None).unwrap().len(), 6);
        names.extend(numbered("rf", &[1, 2, 3, 4, 5, 6]));
        let message = found(&borrowed(&names), None).unwrap_err();
        assert!(message.contains("6 like f0001.nii") && message.contains("--pattern"), "{message}");
        assert_eq!(found(&borrowed(&names), Some("rf*.nii")).unwrap().len(), 6);
        let none = found(&borrowed(&names), Some("x*")).unwrap_err();
        assert!(none.contains("matches \"x*\""), "{none}");
    }

    #[test]
    fn a_pair_is_one_volume_in_any_case() {
        let pairs = ["a1.hdr", "a1.img", "a2.hdr", "a2.img", "._a1.img"];
        let names: Vec<String> =
            found(&pairs, None).unwrap().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["a1.img", "a2.img"]);
        assert_eq!(found(&["A1.NII.GZ", "A2.NII.GZ"], None).unwrap().len(), 2);
    }

    proptest! {
        /// Any names give indices that rise, or a message.
        #[test]
        fn foreign_names_never_panic(names in proptest::collection::btree_set("[a-c0-9_]{1,12}", 1..9)) {
            let names: Vec<String> = names.into_iter().map(|name| format!("{name}.nii")).collect();
            if let Ok(volumes) = found(&borrowed(&names), None) {
                prop_assert!(volumes.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }
}
