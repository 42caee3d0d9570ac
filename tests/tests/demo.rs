//! `corticast demo`, the README's first command, with the shipped model and session.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use corticast_tests::{Site, corticast, entries, repository, results};

#[test]
fn the_demo_decodes_the_requested_seconds_of_the_shipped_session() {
    let site = Site::new(1);
    let (config, out) = (repository("configs/demo.toml"), site.path("out"));
    let arguments = ["demo", "--seconds", "12", "--config", config.to_str().unwrap()];
    let demo = corticast(&site, arguments.into_iter().chain(["--out", out.to_str().unwrap()]));
    let output = demo.expect(0, &[]).output;

    // Twelve volumes, the first eight of which warm up.
    let lines = results(&out.join("results.jsonl"));
    assert_eq!(lines.len(), 4, "{output}");
    for line in &lines {
        assert!(line["caption"].as_str().unwrap().split(' ').count() > 2, "{line}");
        assert_eq!(line["concepts"].as_object().unwrap().len(), 51);
        assert!(line.get("failed_heads").is_none(), "{line}");
    }
    let conditions = entries(&out.join("session.mcap")).0;
    assert_eq!(conditions.iter().filter(|entry| entry.topic == "conditions").count(), 4);
    assert!(output.contains("a purple ball rolls to the left under the night sky"), "{output}");
    assert!(output.contains("4 results; the most probable class was in"), "{output}");
}

#[test]
fn a_demo_that_is_too_short_for_a_result_says_so() {
    let site = Site::new(1);
    let (config, out) = (repository("configs/demo.toml"), site.path("out"));
    let arguments = ["demo", "--seconds", "5", "--config", config.to_str().unwrap()];
    let demo = corticast(&site, arguments.into_iter().chain(["--out", out.to_str().unwrap()]));
    let output = demo.expect(0, &[]).output;
    assert!(output.contains("no results") && output.contains("--seconds 20"), "{output}");
    assert!(!output.contains("chance"), "{output}");
    assert_eq!(results(&out.join("results.jsonl")).len(), 0);
}
