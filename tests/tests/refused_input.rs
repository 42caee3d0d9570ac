//! A command whose input is missing or refused leaves every output as it was; and a reader of
//! standard output that goes away is no error.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use corticast_tests::{Daemon, Process, Site, binary, corticast};

/// Every file below a folder with its bytes, except logs of the test.
fn files(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_ours = |extension| extension == "log" || extension == "out";
        if path.is_dir() {
            found.extend(files(&path));
            found.insert(path, None);
        } else if !path.extension().is_some_and(is_ours) {
            found.insert(path.clone(), Some(fs::read(&path).unwrap()));
        }
    }
    found
}

/// A site with a recording, and files that were there before.
fn site() -> Site {
    let site = Site::new(12);
    let daemon = Daemon::start(&site, &["--record", site.path("session.mcap").to_str().unwrap()]);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    fs::write(site.path("old.jsonl"), "{\"old\":1}\n").unwrap();
    fs::write(site.path("old.mcap"), "old").unwrap();
    fs::write(site.path("text.mcap"), "not a recording").unwrap();
    fs::remove_file(site.path("endpoints.json")).unwrap();
    site
}

#[test]
fn a_command_whose_input_is_missing_or_refused_touches_no_output() {
    let site = site();
    // A scan with another matrix is refused.
    let other = Site::with_matrix(12, "nearest", [6, 6, 4]);
    let refused = other.bold().display().to_string();
    let config = site.config().display().to_string();
    let before = files(site.folder());
    for bad in ["gone.mcap", "text.mcap", "gone.nii.gz", "session.mcap,gone.tsv", &refused] {
        let good_then_bad = ["--run", "session.mcap", "--run", bad];
        for results in ["old.jsonl", "new.jsonl"] {
            let replay = ["replay", "--config", &config, "--results", results, "--overwrite"];
            let outputs = ["--film", "f.mp4", "--record", "r.mcap", "--png", "png", "--webp", "w"];
            let ended = corticast(&site, [&replay[..], &outputs, &good_then_bad].concat());
            assert_ne!(ended.code, Some(0), "{bad}");
            assert_eq!(files(site.folder()), before, "replay of {bad}: {}", ended.log);
        }
        for frozen in ["normalise.mode=frozen", "normalise.mode=growing"] {
            let prepare = ["prepare", "--config", &config, "--set", frozen, "--out", "prepared"];
            let ended = corticast(&site, [&prepare[..], &good_then_bad].concat());
            assert_ne!(ended.code, Some(0), "{bad}");
            assert_eq!(files(site.folder()), before, "prepare of {bad}: {}", ended.log);
        }
    }
    for bad in ["gone.mcap", "text.mcap"] {
        for to in
            [["--jsonl", "new"], ["--jsonl", "old.jsonl"], ["--bids", "d"], ["--nifti", "n.nii"]]
        {
            let ended = corticast(&site, [&["export", bad, "--force"][..], &to].concat());
            assert_eq!(ended.code, Some(1), "{}", ended.log);
        }
        assert_eq!(corticast(&site, ["recover", bad, "--out", "o.mcap"]).code, Some(1));
    }
    let no_run = ["export", "session.mcap", "--run", "gone", "--force", "--jsonl", "old.jsonl"];
    assert_eq!(corticast(&site, no_run).code, Some(1));
    // The model is missing.
    fs::create_dir(site.path("demo-out")).unwrap();
    fs::write(site.path("demo-out/session.mcap"), "old").unwrap();
    let before = files(site.folder());
    for command in [
        vec!["run", "--record", "new.mcap", "--results", "old.jsonl"],
        vec!["replay", "--run", "session.mcap", "--results", "old.jsonl", "--overwrite"],
        vec!["generate", "--connect", "tcp://127.0.0.1:1"],
    ] {
        let no_model = ["--config", &config, "--model", "gone"];
        let ended = corticast(&site, [&command[..], &no_model].concat());
        assert_ne!(ended.code, Some(0), "{command:?}");
        assert_eq!(files(site.folder()), before, "{command:?}: {}", ended.log);
    }
    assert_ne!(corticast(&site, ["demo", "--config", "gone.toml", "--headless"]).code, Some(0));
    assert_eq!(files(site.folder()), before);
    // One output that is in the way keeps the others from being made, and results are replaced
    // only when the operator asks for it.
    let replay = ["replay", "--config", &config, "--run", "session.mcap"];
    let in_the_way = ["--results", "new.jsonl", "--record", "old.mcap"];
    drop(corticast(&site, [&replay[..], &in_the_way].concat()).expect(1, &["old.mcap exists"]));
    let results = ["--results", "old.jsonl"];
    drop(
        corticast(&site, [&replay[..], &results].concat()).expect(1, &["old.jsonl", "--overwrite"]),
    );
    assert_eq!(files(site.folder()), before);
    let results = ["--results", "old.jsonl", "--overwrite"];
    assert_eq!(corticast(&site, [&replay[..], &results].concat()).code, Some(0));
    assert_ne!(fs::read_to_string(site.path("old.jsonl")).unwrap(), "{\"old\":1}\n");
}

#[test]
fn an_output_that_is_an_input_or_another_output_is_refused_before_anything_is_touched() {
    let site = site();
    let config = site.config().display().to_string();
    std::os::unix::fs::symlink("session.mcap", site.path("soft.mcap")).unwrap();
    fs::hard_link(site.path("session.mcap"), site.path("hard.mcap")).unwrap();
    let bold = site.bold().display().to_string();
    let before = files(site.folder());
    let refused = |arguments: Vec<&str>, code: i32| {
        let ended = corticast(&site, &arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.log);
        assert!(ended.log.contains("choose"), "{arguments:?}: {}", ended.log);
        assert_eq!(files(site.folder()), before, "{arguments:?}: {}", ended.log);
    };
    let replay = ["replay", "--config", &config, "--run", "session.mcap"];
    let model = fs::read_dir(site.path("model")).unwrap().next().unwrap().unwrap().path();
    let model = model.display().to_string();
    for input in
        ["session.mcap", "./session.mcap", "soft.mcap", "hard.mcap", &config, &model, "s.001.mcap"]
    {
        // The last one would be a segment of what is recorded.
        if input == "s.001.mcap" {
            let new = ["--record", "s.mcap", "--results", input];
            refused([&replay[..], &new].concat(), 2);
            continue;
        }
        refused([&replay[..], &["--overwrite", "--results", input]].concat(), 2);
        refused([&replay[..], &["--record", input]].concat(), 2);
        refused([&replay[..], &["--film", input]].concat(), 2);
        refused(vec!["run", "--config", &config, "--record", "n.mcap", "--endpoints", &config], 78);
        if input.ends_with(".mcap") {
            for to in [["--jsonl", input], ["--nifti", input]] {
                refused([&["export", "session.mcap", "--force"][..], &to].concat(), 2);
            }
            refused(vec!["recover", "session.mcap", "--out", input], 2);
            refused(vec!["motion", "session.mcap", "--out", input], 2);
        }
    }
    refused(vec!["export", "session.mcap", "--jsonl", "session.001.mcap"], 2);
    refused(vec!["motion", &bold, "--out", &bold], 2);
    for outputs in [
        ["--record", "n.mcap", "--results", "n.mcap"],
        ["--results", "r", "--film", "./r"],
        ["--webp", "d", "--png", "d"],
        ["--film", "d/film.mp4", "--png", "d"],
    ] {
        refused([&replay[..], &outputs].concat(), 2);
    }
    refused(vec!["run", "--config", &config, "--record", "z", "--results", "z"], 78);
    let mut adapter = Command::new(binary("corticast-adapter"));
    adapter.args(["nifti", &bold, "--dump", &bold]);
    let ended = Process::start(&site, adapter).finish();
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    assert_eq!(files(site.folder()), before, "{}", ended.log);
}

#[test]
fn an_input_that_holds_nothing_touches_no_output() {
    let site = site();
    let config = site.config().display().to_string();
    fs::write(site.path("empty.mcap"), "").unwrap();
    let before = files(site.folder());
    let results = ["--results", "old.jsonl", "--overwrite"];
    let replay = ["replay", "--config", &config, "--run", "empty.mcap"];
    let ended = corticast(&site, [&replay[..], &results].concat()).expect(1, &["holds no run"]);
    assert_eq!(files(site.folder()), before, "{}", ended.log);
    let export = ["export", "empty.mcap", "--jsonl", "old.jsonl", "--force"];
    let ended = corticast(&site, export).expect(1, &["holds no entry"]);
    assert_eq!(files(site.folder()), before, "{}", ended.log);
}

#[test]
fn an_output_that_is_a_pipe_is_named_and_does_not_wait() {
    let site = site();
    let config = site.config().display().to_string();
    assert!(Command::new("mkfifo").arg(site.path("pipe")).status().unwrap().success());
    let pipe = "it is a pipe, expected a regular file";
    let run = ["run", "--config", &config];
    for (output, expected) in [
        (["--record", "pipe"], pipe),
        (["--results", "pipe"], pipe),
        (["--record", "/dev/null"], "it is a device, expected a regular file"),
    ] {
        drop(corticast(&site, [&run[..], &output].concat()).expect(78, &[expected]));
    }
    let replay = ["replay", "--config", &config, "--run", "session.mcap"];
    for flag in ["--results", "--record", "--film"] {
        drop(corticast(&site, [&replay[..], &[flag, "pipe"]].concat()).expect(2, &[pipe]));
    }
    drop(corticast(&site, ["export", "session.mcap", "--jsonl", "pipe"]).expect(2, &[pipe]));
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let site = site();
    let config = site.config().display().to_string();
    for arguments in [
        vec!["replay", "--config", &config, "--run", "session.mcap"],
        vec!["check", "--config", &config],
        vec!["export", "session.mcap", "--jsonl", "lines.jsonl"],
        vec!["recover", "session.mcap"],
        vec!["prepare", "--config", &config, "--run", "session.mcap", "--out", "prepared"],
        vec!["keygen", "somebody"],
    ] {
        // The shell closes the reading end before the command starts to write.
        let mut command = Command::new("sh");
        let script = "( \"$0\" \"$@\"; echo $? > code ) | true";
        command.args(["-c", script]).arg(binary("corticast")).args(&arguments).stdin(Stdio::null());
        let log = Process::start(&site, command).finish().log;
        assert!(!log.contains("panicked") && !log.contains("error:"), "{arguments:?}: {log}");
        let code = corticast_tests::wait_for("the exit code", || {
            fs::read_to_string(site.path("code")).ok().filter(|code| code.ends_with('\n'))
        });
        assert_eq!(code, "0\n", "{arguments:?}");
        fs::remove_file(site.path("code")).unwrap();
    }
}
