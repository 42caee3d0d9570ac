//! A faulty volume or message is dropped, reported with what was found and expected, and counted.
//! The run continues.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use bytes::Bytes;
use corticast_bold::decode::Dtype;
use corticast_bold::run::RunHeader;
use corticast_images::acquired::AcquiredVolume;
use corticast_tests::{Daemon, Finished, Site, Talk, counts, published, results};
use corticast_wire::message::{FromAdapter, ToAdapter};
use serde_json::Value;

/// The results and warnings of a session.
struct Session {
    results: Vec<Value>,
    /// The last report of each run.
    report: Value,
    warnings: Vec<String>,
    ended: Finished,
}

impl Session {
    fn indices(&self) -> Vec<u64> {
        self.results.iter().map(|result| result["index"].as_u64().unwrap()).collect()
    }

    fn made_from(&self, index: u64) -> Option<&str> {
        let result = self.results.iter().find(|result| result["index"] == index)?;
        result["made_from"].as_str()
    }

    fn warned(&self, words: &[&str]) -> bool {
        self.warnings.iter().any(|warning| words.iter().all(|word| warning.contains(word)))
    }
}

/// Runs a session during which `say` talks to the daemon.
fn session(site: &Site, name: &str, say: impl FnOnce(&Daemon)) -> Session {
    let (mcap, jsonl) = (site.path(&format!("{name}.mcap")), site.path(&format!("{name}.jsonl")));
    let arguments = ["--record", mcap.to_str().unwrap(), "--results", jsonl.to_str().unwrap()];
    let daemon = Daemon::start(site, &arguments);
    say(&daemon);
    let ended = daemon.stop();
    let report = published(&mcap, "run").pop().unwrap_or_default();
    let warnings = published(&mcap, "status");
    let warnings = warnings.iter().map(|status| status["message"].as_str().unwrap().to_owned());
    Session { results: results(&jsonl), report, warnings: warnings.collect(), ended }
}

/// The results of the site's scan when it has no faults.
fn undisturbed(site: &Site) -> Vec<Value> {
    let session = session(site, "undisturbed", |daemon| {
        assert_eq!(daemon.scan(site, &[]).code, Some(0));
    });
    assert_eq!(session.ended.code, Some(0));
    session.results
}

/// Sends a run of 60 volumes, and calls `disturb` after 30 of them.
fn disturbed(
    site: &Site,
    name: &str,
    disturb: impl FnOnce(&Talk, &str, &RunHeader, &[AcquiredVolume]),
) -> Session {
    session(site, name, |daemon| {
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        talk.send_volumes(&run, &volumes[..30]);
        disturb(&talk, &run, &header, &volumes);
        talk.send_volumes(&run, &volumes[30..]);
        talk.end_run(&run, 60);
    })
}

#[test]
fn a_dropped_volume_is_counted_and_filled_by_the_configured_policy() {
    let site = Site::new(60);
    for (policy, made_from) in
        [("restart", None), ("hold", Some("held")), ("interpolate", Some("interpolated"))]
    {
        site.configure(&format!("missing = \"{policy}\""));
        let session = session(&site, policy, |daemon| {
            assert_eq!(daemon.scan(&site, &["--drop", "30"]).code, Some(0));
        });
        assert_eq!(session.made_from(30), made_from, "{policy}");
        for index in [29, 32, 59] {
            assert_eq!(session.made_from(index), Some("measured"), "{policy} {index}");
        }
        let [received, missing, late, dropped, _] = counts(&session.report);
        assert_eq!([received, missing, late, dropped], [59, 1, 0, 0], "{policy}");
        assert_eq!(session.ended.code, Some(3), "volumes were lost");
    }
}

#[test]
fn a_late_volume_is_put_in_its_place_or_counted() {
    let site = Site::new(60);
    let undisturbed = undisturbed(&site);
    let in_time = session(&site, "in_time", |daemon| {
        assert_eq!(daemon.scan(&site, &["--late", "20:1,40:1"]).code, Some(0));
    });
    assert_eq!(in_time.results, undisturbed);
    assert_eq!(in_time.ended.code, Some(0));
    let too_late = session(&site, "too_late", |daemon| {
        assert_eq!(daemon.scan(&site, &["--late", "20:5"]).code, Some(0));
    });
    let [received, missing, late, dropped, _] = counts(&too_late.report);
    assert_eq!([received, missing, late, dropped], [60, 0, 1, 0]);
    assert_eq!(too_late.made_from(20), None);
    assert_eq!(too_late.ended.code, Some(3));
}

#[test]
fn a_volume_sent_twice_changes_nothing() {
    let site = Site::new(60);
    let undisturbed = undisturbed(&site);
    let twice = session(&site, "twice", |daemon| {
        assert_eq!(daemon.scan(&site, &["--duplicate", "5,30,59"]).code, Some(0));
        daemon.wait_for_end_of_run();
        let metrics = daemon.metrics();
        assert_eq!(metrics.count("corticast_volumes_received_total"), 60);
        // The adapter may have sent a volume a third time.
        let n = metrics.count("corticast_volumes_duplicate_total");
        assert!(n >= 3, "{n} duplicates");
    });
    assert_eq!(twice.results, undisturbed);
    assert_eq!(twice.ended.code, Some(0));
}

#[test]
fn a_voxel_that_is_not_finite_drops_only_its_volume() {
    let site = Site::new(60);
    let mask = corticast::plan::mask_file::read(&site.path("four.nii.gz")).unwrap().mask;
    assert_eq!(mask.n_voxel(), 4);
    let session = session(&site, "nan", |daemon| {
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        let floats = volumes.iter().map(|volume| {
            let is_bad = [30, 40].contains(&volume.index.0);
            let bad = if volume.index.0 == 30 { f32::NAN } else { f32::INFINITY };
            let voxels = volume.voxels.as_chunks::<2>().0.iter();
            let values = voxels.map(|v| if is_bad { bad } else { i16::from_le_bytes(*v).into() });
            let voxels: Bytes = values.flat_map(f32::to_le_bytes).collect();
            AcquiredVolume { dtype: Dtype::Float32, voxels, ..volume.clone() }
        });
        talk.send_volumes(&run, &floats.collect::<Vec<_>>());
        talk.end_run(&run, 60);
    });
    let [received, missing, late, dropped, _] = counts(&session.report);
    assert_eq!([received, missing, late, dropped], [60, 0, 0, 2]);
    let indices = session.indices();
    assert!(!indices.contains(&30) && !indices.contains(&40), "{indices:?}");
    assert!([29, 31, 39, 41, 59].iter().all(|index| indices.contains(index)), "{indices:?}");
    assert!(session.warned(&["30"]), "{:?}", session.warnings);
    assert_eq!(session.ended.code, Some(3));
}

#[test]
fn a_volume_that_does_not_match_its_run_is_refused_and_changes_nothing() {
    let site = Site::new(60);
    let undisturbed = undisturbed(&site);
    let session = disturbed(&site, "misfits", |talk, run, _, volumes| {
        let message = volumes[30].clone().into_message(run);
        let mut wrong_matrix = message.clone();
        wrong_matrix.header.shape = Some(vec![8, 8, 7]);
        let mut damaged = message.clone();
        damaged.header.crc32 = damaged.header.crc32.map(|crc| crc ^ 1);
        let mut truncated = message.clone();
        truncated.header.crc32 = None;
        truncated.voxels = truncated.voxels.slice(..700);
        let mut other_dtype = message.clone();
        other_dtype.header.dtype = Dtype::Float32;
        let mut other_run = message.clone();
        other_run.header.run = "sub-02_task-rest".to_owned();
        let mut far_away = message;
        far_away.header.index = corticast_bold::time::TrIndex(4_000_000_000);
        for (bad, words) in [
            (wrong_matrix, ["[8, 8, 7]", "[8, 8, 6]"]),
            (damaged, ["CRC-32", "expected"]),
            (truncated, ["700", "768"]),
            (other_dtype, ["768", "1536"]),
            (other_run, ["sub-02_task-rest", "sub-demo_task-shapes_run-1"]),
            (far_away, ["4000000000", "expected less than"]),
        ] {
            talk.say(&FromAdapter::Volume(bad));
            let reason = talk.refusal();
            assert!(words.iter().all(|word| reason.contains(word)), "{words:?}: {reason}");
        }
    });
    assert_eq!(session.results, undisturbed);
    assert!(session.warned(&["[8, 8, 7]", "[8, 8, 6]"]), "{:?}", session.warnings);
    let [received, missing, late, dropped, _] = counts(&session.report);
    assert_eq!([received, missing, late, dropped], [60, 0, 0, 0]);
    assert_eq!(session.ended.code, Some(0));
}

#[test]
fn garbage_is_refused_and_changes_nothing() {
    let site = Site::new(60);
    let undisturbed = undisturbed(&site);
    let session = disturbed(&site, "garbage", |talk, _, _, _| {
        let long = vec![b'{'; 100_000];
        let garbage: [&[&[u8]]; 8] = [
            &[b"dance", b"{}"],
            &[b"vol"],
            &[b"vol", b"\xff\xff\xff\xff", b"voxels"],
            &[b"vol", b"{\"run\": [[[[", b""],
            &[b"run", b"{}"],
            &[b"run", b"\x80"],
            &[b"end", &long],
            &[b"vol", b"{}", b"", b"", b""],
        ];
        for frames in garbage {
            talk.say_frames(frames);
            assert!(!talk.refusal().is_empty());
        }
    });
    assert_eq!(session.results, undisturbed);
    assert!(session.warned(&["dance", "expected one of"]), "{:?}", session.warnings);
    assert_eq!(session.ended.code, Some(0));
}

/// Bytes that are not ZeroMQ end only their own connection.
#[test]
fn a_connection_that_does_not_speak_zeromq_disturbs_no_other() {
    use std::io::{Read as _, Write as _};
    let site = Site::new(60);
    let undisturbed = undisturbed(&site);
    let session = session(&site, "strangers", |daemon| {
        let address = daemon.endpoint("adapter").trim_start_matches("tcp://").to_owned();
        let mut strangers: Vec<_> =
            (0..8).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
        for stranger in &mut strangers[..4] {
            stranger.write_all(b"GET / HTTP/1.1\r\nHost: scanner\r\n\r\n").unwrap();
        }
        assert_eq!(daemon.scan(&site, &[]).code, Some(0));
        // The daemon closes all eight connections, also those that send nothing.
        for stranger in &mut strangers {
            stranger.set_read_timeout(Some(corticast_tests::PATIENCE)).unwrap();
            let mut rest = Vec::new();
            let closed = stranger.read_to_end(&mut rest);
            let is_reset = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
            assert!(closed.as_ref().is_ok() || closed.as_ref().is_err_and(is_reset), "{closed:?}");
        }
    });
    assert_eq!(session.results, undisturbed);
}

#[test]
fn a_copy_under_another_number_is_dropped() {
    let site = Site::new(60);
    let undisturbed = undisturbed(&site);
    let session = session(&site, "copy", |daemon| {
        let (header, mut volumes) = site.acquire();
        let lying =
            AcquiredVolume { index: corticast_bold::time::TrIndex(60), ..volumes[55].clone() };
        volumes.push(lying);
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        talk.send_volumes(&run, &volumes);
        talk.end_run(&run, 60);
    });
    assert_eq!(session.results, undisturbed);
    assert!(session.warned(&["volume 60", "volume 55"]), "{:?}", session.warnings);
}

#[test]
fn a_run_that_starts_before_the_end_of_the_last_one_is_complete() {
    let site = Site::new(60);
    let mut expected = undisturbed(&site);
    let mut second = "";
    let session = session(&site, "no_end", |daemon| {
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let first = talk.start_run(&header).run;
        talk.send_volumes(&first, &volumes[..30]);
        let next = RunHeader { series_id: "another".to_owned(), ..header };
        let run = talk.start_run(&next).run;
        assert_ne!(run, first);
        talk.send_volumes(&run, &volumes);
        talk.end_run(&run, 60);
        // A later volume of the previous run is refused.
        talk.say(&FromAdapter::Volume(volumes[40].clone().into_message(&first)));
        assert!(matches!(talk.answer(), ToAdapter::Refused(_) | ToAdapter::Ack(_)));
        second = run.leak();
        daemon.wait_for_end_of_run();
    });
    let whole: Vec<Value> =
        session.results.into_iter().filter(|result| result["run"] == second).collect();
    for result in &mut expected {
        result["run"] = second.into();
    }
    assert_eq!(whole, expected);
    assert!(
        session.warnings.iter().any(|w| w.contains("before") && w.contains("ended")),
        "{:?}",
        session.warnings
    );
    assert_eq!(session.ended.code, Some(0));
}
