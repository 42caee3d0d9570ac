//! The description of a session: the first entry of a recording, and the answer to `query`.

use serde_json::{Value, json};

use super::Plan;
use crate::clock::ClockPair;

/// Versions, clocks, configuration, agreed settings, and the model.
#[must_use]
pub fn session(plan: &Plan, instance: &str) -> Value {
    let config: Option<toml::Table> = toml::from_str(&plan.config.to_toml()).ok();
    json!({
        "corticast": env!("CARGO_PKG_VERSION"),
        "protocol": corticast_wire::message::PROTOCOL,
        "instance": instance,
        "clocks": ClockPair::now(),
        "name": plan.config.session.name,
        "config": config,
        "effective": plan.effective(),
        "model": plan.decoder.as_ref().map(|decoder| {
            let manifest = decoder.manifest();
            json!({
                "name": manifest.name,
                "subject": manifest.subject,
                "provider": decoder.provider().to_string(),
                "fallback_reason": decoder.fallback_reason(),
                "networks": manifest.networks.iter().map(|n| &n.sha256).collect::<Vec<_>>(),
                "provenance": manifest.provenance,
            })
        }),
    })
}
