use std::fs;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn line(session: u64, index: u64) -> Bytes {
    let json = format!(
        r#"{{"run":"sub-01","index":{index},"stimulus_time_s":{index}.5,"received_ns":{session}{index}}}"#
    );
    json.into()
}

fn text(lines: &[Bytes]) -> String {
    lines.iter().map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

fn continued(path: &Path, recorded: &[Bytes]) -> Result<JsonLines, JsonLinesError> {
    let mut file = Continuing::open(path)?;
    recorded.iter().try_for_each(|line| file.recorded(line))?;
    file.finish()
}

#[test]
fn the_file_of_another_session_is_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    let old = text(&[line(1, 3), line(1, 4)]);
    fs::write(&path, &old).unwrap();
    for recorded in [vec![], vec![line(2, 3)]] {
        let new = continued(&path, &recorded).unwrap();
        new.finish().unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), old);
    assert_eq!(fs::read_to_string(folder.path().join("results-2.jsonl")).unwrap(), "");
    // Empty, so this session takes it.
    let third = folder.path().join("results-3.jsonl");
    assert_eq!(fs::read_to_string(third).unwrap(), text(&[line(2, 3)]));
    assert!(matches!(JsonLines::of_replay(&path, false), Err(JsonLinesError::Exists(_))));
}

#[test]
fn a_replay_replaces_a_file_only_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    fs::write(&path, "old\n").unwrap();
    let mut lines = JsonLines::of_replay(&path, true).unwrap();
    lines.line(b"new").unwrap();
    drop(lines);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
    let mut lines = JsonLines::of_replay(&path, true).unwrap();
    lines.line(b"new").unwrap();
    lines.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn a_restart_that_fails_changes_no_file_and_leaves_none_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    drop(Continuing::open(&path).unwrap());
    assert!(!path.exists());
    fs::write(&path, text(&[line(1, 3)])).unwrap();
    let mut file = Continuing::open(&path).unwrap();
    file.recorded(&line(2, 3)).unwrap();
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), text(&[line(1, 3)]));
}

proptest! {
    /// The file is cut anywhere; the recording lacks some of its results, and the file some of the
    /// recording's.
    #[test]
    fn a_file_of_this_session_keeps_its_bytes_and_gets_each_result_once(
        in_file in proptest::collection::btree_set(0_u64..12, 1..10),
        in_recording in proptest::collection::btree_set(0_u64..12, 1..10),
        cut in 0_usize..200,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let lines = |indices: &std::collections::BTreeSet<u64>| {
            indices.iter().map(|&index| line(1, index)).collect::<Vec<_>>()
        };
        let recorded = lines(&in_recording);
        let whole = text(&lines(&in_file));
        let before = whole[..whole.len() - cut.min(whole.len() - 1)].to_owned();
        fs::write(&path, &before).unwrap();
        let mut file = continued(&path, &recorded).unwrap();
        prop_assert!(!path.with_file_name("results.jsonl.restart").exists());
        // The restarted session delivers all results again.
        (0..12).try_for_each(|index| file.line(&line(1, index))).unwrap();
        file.finish().unwrap();

        let after = fs::read_to_string(&path).unwrap();
        prop_assert!(after.starts_with(&before));
        let is_ours = path.with_file_name("results-2.jsonl").exists();
        if !is_ours {
            let keys: Vec<_> = after.lines().filter_map(|l| key_of(l.as_bytes())).collect();
            let unique: std::collections::HashSet<_> = keys.iter().cloned().collect();
            prop_assert_eq!(keys.len(), unique.len());
            prop_assert!(recorded.iter().all(|line| unique.contains(&key_of(line).unwrap())));
        }
    }
}
