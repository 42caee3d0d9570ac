//! A results file is never emptied: a restart continues the file of its session, and the file of
//! another session stays as it is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{collections::HashSet, fs, path::Path};

use corticast_tests::{Daemon, Site, corticast, published, results, without_ns};

fn session(site: &Site, mcap: &Path, jsonl: &Path, number: u32) {
    let (mcap, jsonl) = (mcap.to_str().unwrap(), jsonl.to_str().unwrap());
    let daemon = Daemon::start(site, &["--record", mcap, "--results", jsonl]);
    let (mut header, acquired) = site.acquire();
    header.entities.run = Some(number.to_string());
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &acquired);
    talk.end_run(&run, u32::try_from(acquired.len()).unwrap());
    daemon.wait_for_end_of_run();
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_restart_adds_what_the_results_file_lacks_and_keeps_every_byte() {
    let site = Site::new(20);
    let (mcap, jsonl) = (site.path("session.mcap"), site.path("results.jsonl"));
    session(&site, &mcap, &jsonl, 1);
    let whole = fs::read_to_string(&jsonl).unwrap();
    assert!(whole.lines().count() > 10);

    // A power failure cut the file in the middle of a line; another program added a remark before.
    let half = whole.len() / 2;
    let cut = half - usize::from(whole.as_bytes()[half - 1] == b'\n');
    let before = format!("\"a remark\"\n{}", &whole[..cut]);
    fs::write(&jsonl, &before).unwrap();
    session(&site, &mcap, &jsonl, 2);
    let after = fs::read_to_string(&jsonl).unwrap();
    assert!(after.starts_with(&before), "nothing is taken away");
    let mut lines: Vec<_> = results(&jsonl);
    assert_eq!(lines.remove(0), "a remark");
    let unique: HashSet<String> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(unique.len(), lines.len(), "no result twice");
    let recorded: HashSet<String> =
        published(&mcap, "concepts").into_iter().map(|line| without_ns(line).to_string()).collect();
    assert_eq!(unique, recorded);

    // Another session with the same results file.
    session(&site, &site.path("second.mcap"), &jsonl, 1);
    assert_eq!(fs::read_to_string(&jsonl).unwrap(), after);
    assert!(results(&site.path("results-2.jsonl")).len() > 10);
}

#[test]
fn two_daemons_do_not_share_a_results_file() {
    let site = Site::new(20);
    let [first, second, jsonl] =
        ["first.mcap", "second.mcap", "results.jsonl"].map(|n| site.path(n));
    let [first, second, jsonl] = [&first, &second, &jsonl].map(|path| path.to_str().unwrap());
    let daemon = Daemon::start(&site, &["--record", first, "--results", jsonl]);
    let config = site.config();
    let run = ["run", "--config", config.to_str().unwrap(), "--record", second, "--results", jsonl];
    drop(corticast(&site, run).expect(1, &["results.jsonl is being written by another process"]));
    assert_eq!(daemon.stop().code, Some(0));
}
