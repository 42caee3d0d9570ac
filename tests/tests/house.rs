//! The shape of the source tree (ARCHITECTURE.md): its rooms, which rooms may import which, and the
//! length of files. A file in the wrong place fails here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use corticast_tests::repository;

/// Rooms of `daemon/src`, the top floor first. A room imports from its own floor and those below.
const FLOORS: [&[&str]; 6] = [
    &["cli"],
    &["service", "offline"],
    &["intake", "recording", "signal", "outputs", "generate"],
    &["plan"],
    &["product", "queue", "metrics"],
    &["config", "clock", "exit", "supervise", "failpoint"],
];

/// Crates whose files are counted.
const SOURCES: [&str; 6] = [
    "adapters/src",
    "adapters/images/src",
    "adapters/wire/src",
    "daemon/bold/src",
    "daemon/src",
    "models/src",
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file's text before its unit tests.
fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let end = text.find("\n#[cfg(test)]\nmod tests").map_or(text.len(), |at| at + 1);
    text[..end].to_owned()
}

/// Names after `crate::` in the code of a file, those in `crate::{…}` included.
fn imported_rooms(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.insert(word(rest));
            continue;
        };
        // The first word of each item at depth 0.
        let (mut depth, mut starts_item) = (0, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts_item = true,
                c if starts_item && !c.is_whitespace() => {
                    rooms.insert(word(&list[at..]));
                    starts_item = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

#[test]
fn the_daemon_is_rooms_and_seven_files() {
    let src = repository("daemon/src");
    let found: BTreeSet<String> = fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let rooms = FLOORS.iter().flat_map(|floor| floor.iter().copied());
    let expected: BTreeSet<String> = rooms.chain(["main", "lib"]).map(str::to_owned).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_room_of_the_daemon_imports_nothing_from_a_floor_above() {
    let src = repository("daemon/src");
    let mut upwards = Vec::new();
    for file in rust_files(&src) {
        let place = file.strip_prefix(&src).unwrap();
        let room = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(floor) = floor_of(room) else { continue };
        let code: String = without_tests(&file)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        for imported in imported_rooms(&code) {
            if floor_of(&imported).is_some_and(|above| above < floor) {
                upwards.push(format!("{} takes from {imported}", place.display()));
            }
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}");
}

#[test]
fn half_of_the_files_have_at_most_120_lines_and_nine_of_ten_at_most_300() {
    let files = SOURCES.iter().flat_map(|folder| rust_files(&repository(folder)));
    let mut lines: Vec<usize> = files
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| without_tests(&path).lines().count())
        .collect();
    lines.sort_unstable();
    assert!(lines.len() > 200, "{} files", lines.len());
    let (median, p90) = (lines[lines.len() / 2], lines[lines.len() * 9 / 10]);
    assert!(median <= 120 && p90 <= 300, "median {median}, p90 {p90}");
}

/// Every path in backticks, in the pages that explain the tree.
#[test]
fn paths_that_the_architecture_names_exist() {
    let mut missing = Vec::new();
    let files: Vec<String> = ["adapters", "daemon", "fuzz", "models", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&repository(folder)))
        .map(|path| path.display().to_string())
        .collect();
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(repository(page)).unwrap();
        let code = text.split('`').skip(1).step_by(2);
        let names =
            code.filter(|name| name.ends_with(".rs") && !name.contains(['<', '{', '*', ' ']));
        for name in names.filter(|name| !name.starts_with("foo")) {
            if !files.iter().any(|file| file.ends_with(&format!("/{name}"))) {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
