//! A flood of bad messages pushes no result out of a queue, and fills no log.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, PATIENCE, Site, results};
use serde_json::Value;

const N_BAD: usize = 100_000;
/// Bad messages between two answers that are read; fewer than the daemon queues.
const BATCH: usize = 50;

fn indices(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["index"].as_u64().unwrap()).collect()
}

#[test]
fn a_subscriber_gets_every_result_during_a_flood_of_bad_messages() {
    let site = Site::new(200);
    let jsonl = site.path("results.jsonl");
    let daemon = Daemon::start(&site, &["--results", jsonl.to_str().unwrap()]);
    let watch = daemon.watch();
    let flood = daemon.talk();
    let flooding = std::thread::spawn(move || {
        for n in 0..N_BAD / BATCH {
            (0..BATCH).for_each(|m| flood.say_frames(&[format!("bad {n} {m}").as_bytes()]));
            (0..BATCH).for_each(|_| drop(flood.refusal()));
        }
    });
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;
    talk.send_volumes(&run, &volumes[..199]);
    flooding.join().unwrap();
    talk.send_volumes(&run, &volumes[199..]);
    talk.end_run(&run, 200);
    let (mut seen, mut n_warning) = (Vec::new(), 0);
    loop {
        let (topic, header) = watch.next(PATIENCE).unwrap();
        match topic.as_str() {
            "concepts" => seen.push(header),
            "status" => n_warning += 1,
            "run" if header["state"] == "ended" => break,
            _ => {}
        }
    }
    assert!(n_warning < 1000, "{n_warning} warnings");
    let metrics = daemon.metrics();
    assert!(metrics.count("corticast_messages_refused_total") >= N_BAD as u64);
    assert!(metrics.count("corticast_warnings_left_out_total") > 90_000);
    assert!(daemon.process.log().lines().count() < 1000, "the log is short");
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(indices(&seen), indices(&results(&jsonl)));
    assert!(seen.len() > 180);
}
