//! `corticast check`: whether a session could run, without starting it.

use super::ConfigArgs;
use crate::{config::Config, disk, exit::Exit, plan::Plan};

/// Checks file, model, mask and their agreement, and prints the effective configuration.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when the session could not run; says on what.
pub fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let config: Config = args.config.load(&[])?;
    let plan = Plan::make(config)?;
    plan.config.wire.security()?;
    let mut table: toml::Table = toml::from_str(&plan.config.to_toml())?;
    // What was agreed takes the place of what was asked.
    for (name, agreed) in plan.effective() {
        match (table.get_mut(&name), agreed) {
            (Some(toml::Value::Table(asked)), toml::Value::Table(agreed)) => asked.extend(agreed),
            (_, agreed) => {
                table.insert(name, agreed);
            }
        }
    }
    if let Some(decoder) = &plan.decoder {
        let manifest = decoder.manifest();
        let facts = [
            ("name", toml::Value::String(manifest.name.clone())),
            ("subject", toml::Value::String(manifest.subject.clone())),
            ("provider", toml::Value::String(decoder.provider().to_string())),
            ("repetition_time_s", toml::Value::Float(manifest.signal.repetition_time.as_secs())),
            ("provenance", toml::Value::Table(manifest.provenance.clone())),
        ];
        let model = table.entry("model").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let toml::Value::Table(model) = model {
            model.extend(facts.map(|(key, value)| (key.to_owned(), value)));
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&table)?);
    } else {
        print!("{}", toml::to_string(&table)?);
    }
    if let Some(reason) = plan.decoder.as_ref().and_then(|d| d.fallback_reason()) {
        eprintln!("note: the model runs on the CPU: {reason}");
    }
    if let Some(file) = &plan.config.recording.file
        && let Some(free) = disk::free_bytes(file)
    {
        eprintln!("note: {:.1} GB free where the recording goes", free as f64 / 1e9);
    }
    eprintln!("ok: configuration, mask and model agree");
    Ok(Exit::Fine)
}
