//! A live model gets the same windows as in training, and no result depends on later volumes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Daemon, Site, concepts, corticast, probabilities, results};
use safetensors::SafeTensors;
use serde_json::Value;

fn replayed(site: &Site) -> Vec<Value> {
    let out = site.path("replayed.jsonl");
    let (config, bold) = (site.config(), site.bold());
    let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
    let arguments = arguments.into_iter().chain([bold.to_str().unwrap(), "--results"]);
    let replay = corticast(site, arguments.chain([out.to_str().unwrap()]));
    assert_eq!(replay.code, Some(0), "{}", replay.log);
    results(&out)
}

#[test]
fn a_live_run_gives_the_same_results_as_a_replay_of_its_file() {
    for shift in ["nearest", "linear"] {
        let site = Site::with_shift(60, shift);
        let live = site.path("live.jsonl");
        let daemon = Daemon::start(&site, &["--results", live.to_str().unwrap()]);
        assert_eq!(daemon.scan(&site, &[]).code, Some(0));
        assert_eq!(daemon.stop().code, Some(0));
        let live = results(&live);
        assert!(live.len() > 50, "{shift}: {} results of 60 volumes", live.len());
        assert_eq!(live, replayed(&site), "{shift}");
    }
}

#[test]
fn half_a_run_gives_the_first_half_of_its_results() {
    for shift in ["nearest", "linear"] {
        let site = Site::with_shift(60, shift);
        let half = site.path("half.jsonl");
        let daemon = Daemon::start(&site, &["--results", half.to_str().unwrap()]);
        let (header, volumes) = site.acquire();
        let talk = daemon.talk();
        let run = talk.start_run(&header).run;
        talk.send_volumes(&run, &volumes[..30]);
        assert_eq!(daemon.stop().code, Some(0));
        let (half, whole) = (results(&half), replayed(&site));
        assert!((21..=30).contains(&half.len()), "{shift}: {} results", half.len());
        assert_eq!(half, whole[..half.len()], "{shift}");
    }
}

/// Windows from `prepare`, put through the model by hand, give the daemon's probabilities.
#[test]
fn prepare_gives_the_windows_that_the_model_gets_online() {
    for shift in ["nearest", "linear"] {
        let site = Site::with_shift(60, shift);
        let (config, bold, out) = (site.config(), site.bold(), site.path("prepared"));
        let arguments = ["prepare", "--config", config.to_str().unwrap(), "--run"];
        let arguments = arguments.into_iter().chain([bold.to_str().unwrap(), "--out"]);
        let prepared = corticast(&site, arguments.chain([out.to_str().unwrap()]));
        assert_eq!(prepared.code, Some(0), "{}", prepared.log);
        let bytes = std::fs::read(out.join(site.run_name()).join("data.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let windows = tensors.tensor("windows").unwrap();
        let times = tensors.tensor("stimulus_time_s").unwrap();
        let results = replayed(&site);
        assert_eq!(windows.shape(), [results.len(), 1, 4], "{shift}");
        let bold = windows.data().as_chunks::<16>().0.iter().map(|window| {
            let at = |n: usize| f32::from_le_bytes(window[4 * n..4 * n + 4].try_into().unwrap());
            [at(0), at(1), at(2), at(3)]
        });
        let times = times.data().as_chunks::<8>().0.iter().map(|time| f64::from_le_bytes(*time));
        for ((bold, time_s), result) in bold.zip(times).zip(&results) {
            assert_eq!(result["stimulus_time_s"].as_f64().unwrap().to_bits(), time_s.to_bits());
            // The network computes in f32.
            for (found, by_hand) in concepts(result).into_iter().zip(probabilities(bold)) {
                assert!((found - by_hand).abs() < 1e-5, "{shift} {bold:?}: {found}, {by_hand}");
            }
        }
    }
}
