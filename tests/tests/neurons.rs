//! A `neurons` model in the daemon gives the same concepts, captions and conditions each time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use corticast_tests::{Daemon, Finished, PATIENCE, Site, corticast, entries, published, results};
use safetensors::SafeTensors;
use serde_json::Value;

fn site(model: &str) -> Site {
    let site = Site::new(30);
    site.use_model(model);
    site
}

/// Replays to the end, into files called `name`.
fn replay(site: &Site, bold: &Path, name: &str, more: &[&str]) -> Finished {
    let (config, jsonl) = (site.config(), site.path(&format!("{name}.jsonl")));
    let conditions = site.path(name);
    let mut arguments = vec!["replay", "--config", config.to_str().unwrap()];
    arguments.extend(["--run", bold.to_str().unwrap()]);
    arguments.extend(["--overwrite", "--results", jsonl.to_str().unwrap()]);
    arguments.extend(["--conditions", conditions.to_str().unwrap()]);
    arguments.extend(more);
    corticast(site, arguments)
}

/// Every file of a folder of conditions, by its relative path.
fn conditions(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let runs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = runs.flat_map(|run| fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()));
    files
        .map(|path| (path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

fn shapes(file: &[u8]) -> BTreeMap<String, Vec<usize>> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let shape = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (name.to_owned(), view.shape().to_vec())
    };
    tensors.iter().map(shape).collect()
}

fn f32s(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn a_replay_gives_concepts_captions_and_conditions() {
    let site = site("neurons-tiny");
    drop(replay(&site, &site.bold(), "first", &[]).expect(0, &[]));
    let lines = results(&site.path("first.jsonl"));
    let files = conditions(&site.path("first"));
    assert!(lines.len() > 20 && files.len() == lines.len(), "{} {}", lines.len(), files.len());
    for line in &lines {
        let index = line["index"].as_u64().unwrap();
        let name = format!("{}/{index:06}.safetensors", site.run_name());
        let file = &files[Path::new(&name)];
        let (_, metadata) = SafeTensors::read_metadata(file).unwrap();
        let about = metadata.metadata().clone().unwrap();
        assert_eq!(about["run"], line["run"].as_str().unwrap());
        assert_eq!(about["index"], index.to_string());
        let stimulus_time_s: f64 = about["stimulus_time_s"].parse().unwrap();
        assert_eq!(
            Some(stimulus_time_s.to_bits()),
            line["stimulus_time_s"].as_f64().map(f64::to_bits)
        );

        let shapes = shapes(file);
        assert_eq!(shapes["brain_tokens"], [3, 4]);
        assert_eq!(shapes["tokens"], [3, 4]);
        assert_eq!(shapes["text_embed"], [5]);
        assert_eq!(shapes["mask"], [2, 2, 2]);
        assert_eq!(shapes["latents"], [2, 4, 2, 2]);
        // Four tokens: `cat and dog` or `dog and dog`, by the larger value of the text embedding.
        assert_eq!(shapes["caption_ids"], [4]);
        let text = f32s(file, "text_embed");
        let first = if text[0] > text[1] { "cat" } else { "dog" };
        assert_eq!(line["caption"], format!("{first} and dog"));
        let probabilities = f32s(file, "probabilities");
        for (class, found) in ["bottle", "cat", "chair"].into_iter().zip(&probabilities) {
            assert!((line["concepts"][class].as_f64().unwrap() - f64::from(*found)).abs() < 1e-6);
        }
        // Brain tokens are the voxels once, twice and three times.
        let brain = f32s(file, "brain_tokens");
        assert!((0..4).all(|c| (brain[4 + c] - 2.0 * brain[c]).abs() < 1e-5), "{brain:?}");
        assert!(line.get("failed_heads").is_none());
    }
    // A second replay does not overwrite the conditions.
    let again = replay(&site, &site.bold(), "first", &[]);
    drop(again.expect(1, &["not empty"]));
}

#[test]
fn two_replays_are_the_same_to_the_bit_and_another_seed_is_not() {
    let site = site("neurons-tiny");
    for steps in [&[][..], &["--set", "decoder.prior_steps=3"]] {
        for (name, seed) in
            [("a", "decoder.seed=7"), ("b", "decoder.seed=7"), ("c", "decoder.seed=8")]
        {
            fs::remove_dir_all(site.path(name)).ok();
            let more = [&["--set", seed], steps].concat();
            drop(replay(&site, &site.bold(), name, &more).expect(0, &[]));
        }
        let read = |name: &str| {
            (results(&site.path(&format!("{name}.jsonl"))), conditions(&site.path(name)))
        };
        assert_eq!(read("a"), read("b"));
        let tokens = |name: &str| -> Vec<Vec<f32>> {
            read(name).1.values().map(|file| f32s(file, "tokens")).collect()
        };
        assert!(tokens("a").iter().zip(tokens("c")).all(|(a, c)| *a != c));
    }
}

#[test]
fn a_head_that_fails_loses_its_readout_but_not_the_volume() {
    let site = site("neurons-nan");
    let words = ["the head `objects` failed", "`mask_logits` holds NaN"];
    drop(replay(&site, &site.bold(), "nan", &[]).expect(0, &words));
    let lines = results(&site.path("nan.jsonl"));
    assert!(lines.len() > 20);
    for line in &lines {
        assert_eq!(line["failed_heads"], serde_json::json!(["objects"]));
        assert!(line["concepts"]["cat"].is_number() && line["caption"].is_string());
    }
    for file in conditions(&site.path("nan")).values() {
        let shapes = shapes(file);
        assert!(!shapes.contains_key("mask") && shapes.contains_key("latents"));
    }
    // Switching the head off silences the warning.
    let heads = "decoder.heads=[\"concepts\", \"caption\"]";
    let log = replay(&site, &site.bold(), "without", &["--set", heads]).expect(0, &[]).log;
    assert!(!log.contains("the head `"), "{log}");
}

#[test]
fn a_model_without_a_role_that_it_needs_does_not_start() {
    let site = site("neurons-tiny");
    site.edit_manifest(|manifest| {
        let networks = manifest["network"].as_array_mut().unwrap();
        networks.retain(|network| network["role"].as_str() != Some("prior"));
    });
    let config = site.config();
    let check = corticast(&site, ["check", "--config", config.to_str().unwrap()]);
    drop(check.expect(78, &["`network.role`", "brain, motion, concepts", "needs `prior`"]));
}

#[test]
fn check_shows_the_roles_and_the_time_of_a_window() {
    let site = site("neurons-tiny");
    let config = site.config();
    let arguments = ["check", "--json", "--config", config.to_str().unwrap()];
    let check = corticast(&site, arguments).expect(0, &["ok: configuration"]);
    let shown: Value = serde_json::from_str(&check.output).unwrap();
    let networks = shown["model"]["networks"].as_array().unwrap();
    assert_eq!(networks.len(), 10);
    let of = |role: &str| networks.iter().find(|network| network["role"] == role).unwrap();
    assert_eq!(of("brain")["inputs"][0], "`bold` f32 [-1, 1, 4]");
    assert_eq!(of("prior")["provider"], "cpu");
    assert_eq!(of("vae_decoder")["provider"], "not loaded");
    assert!(shown["model"]["window_takes_s"].as_f64().unwrap() > 0.0);
    assert!(shown["model"]["parts_take_s"]["prior"].is_number());
    assert_eq!(shown["decoder"]["prior_steps"], 10);
    assert_eq!(shown["decoder"]["prior"], "ddpm");
    let steps = ["check", "--config", config.to_str().unwrap(), "--set", "decoder.prior_steps=11"];
    drop(corticast(&site, steps).expect(78, &["`prior_steps` must be 1 to 10", "got 11"]));
}

#[test]
fn live_conditions_are_published_recorded_and_replayed_but_not_shown_while_blanked() {
    let site = site("neurons-tiny");
    let (mcap, again) = (site.path("live.mcap"), site.path("again.mcap"));
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    let watch = daemon.watch();
    let (header, volumes) = site.acquire();
    let talk = daemon.talk();
    let run = talk.start_run(&header).run;

    let (mut shown, mut captions) = (BTreeMap::new(), BTreeMap::new());
    let mut n_result = None;
    let mut take = |shown: &mut BTreeMap<u64, _>, captions: &mut BTreeMap<u64, _>| {
        let (topic, header, payload) = watch.next_with_payload(PATIENCE).unwrap();
        let index = header["index"].as_u64();
        match topic.as_str() {
            "conditions" => {
                assert_eq!(header["sequence"].as_u64(), Some(shown.len() as u64));
                assert_eq!(header["blanked"], payload.is_none());
                shown.insert(index.unwrap(), payload);
            }
            "concepts" => {
                captions.insert(index.unwrap(), header);
            }
            "run" if header["state"] == "ended" => n_result = header["n_results"].as_u64(),
            _ => {}
        }
        n_result
    };
    // Send a few at a time: on a busy machine a longer queue would drop products, as it does for
    // a slow display.
    let mut sent = 0;
    for end in [10, 15, 20, 25, 30] {
        if sent == 15 {
            assert_eq!(daemon.command("blank")["ok"], true);
        }
        talk.send_volumes(&run, &volumes[sent..end]);
        sent = end;
        let last = end as u64 - 1;
        while !(shown.contains_key(&last) && captions.contains_key(&last)) {
            take(&mut shown, &mut captions);
        }
    }
    talk.end_run(&run, 30);
    let n_result = loop {
        if let Some(n_result) = take(&mut shown, &mut captions) {
            break n_result as usize;
        }
    };
    assert_eq!((shown.len(), captions.len()), (n_result, n_result));
    assert_eq!(daemon.stop().code, Some(0));
    assert!(shown.len() > 20, "{} results", shown.len());

    let recorded: Vec<_> =
        entries(&mcap).0.into_iter().filter(|e| e.topic == "conditions").collect();
    assert_eq!(recorded.len(), shown.len());
    for (entry, (index, payload)) in recorded.iter().zip(&shown) {
        let (_, metadata) = SafeTensors::read_metadata(&entry.data).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["index"], index.to_string());
        let is_blanked = *index >= 15;
        assert_eq!(payload.is_none(), is_blanked, "{index}");
        assert!(payload.as_ref().is_none_or(|payload| *payload == entry.data), "{index}");
        let header = &captions[index];
        assert_eq!(header["caption"] == "", is_blanked, "{header}");
        let neutral =
            ["bottle", "cat", "chair"].iter().all(|class| header["concepts"][class] == 0.5);
        assert_eq!(neutral, is_blanked, "{header}");
    }
    // The recording keeps the decoded products, and a replay reproduces all of them.
    let said = published(&mcap, "concepts");
    assert!(said.iter().all(|result| result["caption"] != ""));
    let more = ["--record", again.to_str().unwrap()];
    drop(replay(&site, &mcap, "replayed", &more).expect(0, &[]));
    assert_eq!(results(&site.path("replayed.jsonl")), said);
    let data = |path: &Path| -> Vec<_> {
        let of_topic = entries(path).0.into_iter().filter(|entry| entry.topic == "conditions");
        of_topic.map(|entry| entry.data).collect()
    };
    assert_eq!(data(&again), data(&mcap));
    let files = conditions(&site.path("replayed"));
    let bytes: Vec<_> = files.values().map(|file| file.as_slice()).collect();
    assert_eq!(bytes, data(&mcap));

    let (config, without) = (site.config(), site.path("without.mcap"));
    let arguments = ["replay", "--config", config.to_str().unwrap(), "--run"];
    let arguments = arguments.into_iter().chain([mcap.to_str().unwrap(), "--record"]);
    let arguments =
        arguments.chain([without.to_str().unwrap(), "--set", "recording.conditions=false"]);
    drop(corticast(&site, arguments).expect(0, &[]));
    assert!(data(&without).is_empty());
}

#[test]
fn a_session_is_not_resumed_with_another_seed() {
    let site = site("neurons-tiny");
    let mcap = site.path("live.mcap");
    let daemon = Daemon::start(&site, &["--record", mcap.to_str().unwrap()]);
    assert_eq!(daemon.scan(&site, &[]).code, Some(0));
    assert_eq!(daemon.stop().code, Some(0));
    let config = site.config();
    let arguments = ["run", "--config", config.to_str().unwrap(), "--record"];
    let arguments =
        arguments.into_iter().chain([mcap.to_str().unwrap(), "--set", "decoder.seed=1"]);
    drop(corticast(&site, arguments).expect(1, &["with another [decoder]"]));
}

#[test]
fn a_linear_model_gives_no_conditions() {
    let site = Site::new(20);
    drop(replay(&site, &site.bold(), "linear", &[]).expect(1, &["--conditions", "`neurons`"]));
}
