//! The description of a session: the first entry of a recording, and the answer to `query`.

use corticast_models::runtime::environment::load_runtime;
use serde_json::{Value, json};

use super::Plan;
use crate::clock::ClockPair;

/// Versions, clocks, configuration, agreed settings, and the model.
#[must_use]
pub fn session(plan: &Plan, instance: &str) -> Value {
    let config: Option<toml::Table> = toml::from_str(&plan.config.to_toml()).ok();
    let mut effective = plan.effective();
    if let Some(toml::Value::Table(signal)) = effective.get_mut("signal") {
        // These decide results too, although neither mask nor model has a say in them.
        let config = toml::Value::try_from(&plan.config.signal).ok();
        for key in ["resequence_volumes", "content_duplicates", "quality_baseline_volumes"] {
            let value = config.as_ref().and_then(|config| config.get(key));
            signal.extend(value.map(|value| (key.to_owned(), value.clone())));
        }
    }
    let files = plan.signal.stages.files();
    if !files.is_empty() {
        effective.insert("files".to_owned(), toml::Value::Table(files));
    }
    if let Some(feedback) = &plan.feedback {
        let facts = feedback.facts(&plan.signal.quality);
        effective.insert("feedback".to_owned(), toml::Value::Table(facts));
    }
    json!({
        "corticast": env!("CARGO_PKG_VERSION"),
        "protocol": corticast_wire::message::PROTOCOL,
        "instance": instance,
        "clocks": ClockPair::now(),
        "name": plan.config.session.name,
        "config": config,
        "effective": effective,
        // What a recording needs so that its scores can be shown to another participant.
        "feedback": plan.feedback.as_ref().map(|feedback| json!({
            "blocks": feedback.design.blocks(),
            "is_blind": feedback.sham.is_some(),
        })),
        "model": plan.decoder.as_ref().map(|decoder| {
            let manifest = decoder.manifest();
            json!({
                "name": manifest.name,
                "subject": manifest.subject,
                "provider": decoder.provider().to_string(),
                "runtime": load_runtime().map(|info| info.version).ok(),
                "fallback_reason": decoder.fallback_reason(),
                "networks": manifest.networks.iter().map(|n| &n.sha256).collect::<Vec<_>>(),
                "provenance": manifest.provenance,
            })
        }),
    })
}
