//! `corticast ctl`: what an operator commands a running daemon.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use corticast_wire::socket::{ClientSecurity, Dealer, Limits, SocketError};
use serde_json::{Value, json};

use crate::{exit::Exit, signal::happening::Command};

/// How long the daemon has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "Examples:
  corticast ctl status
  corticast ctl pause
  corticast ctl end-run --yes
  corticast ctl blank --endpoint tcp://daemon:5563 --key me.key --server-key daemon.pub

Exit codes: 0 done, 1 refused or no daemon answers, 2 bad arguments or not confirmed.";

/// Commands a running daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CtlArgs {
    /// What to do
    command: Word,
    /// The daemon's control socket
    #[arg(long, default_value = "tcp://127.0.0.1:5563", value_name = "ENDPOINT")]
    endpoint: String,
    /// Our key file, for a daemon on another machine
    #[arg(long, requires = "server_key", value_name = "FILE.key")]
    key: Option<PathBuf>,
    /// The daemon's public key file
    #[arg(long, requires = "key", value_name = "FILE.pub")]
    server_key: Option<PathBuf>,
    /// Do not ask before ending anything
    #[arg(long, short)]
    yes: bool,
    /// Print the daemon's answer as it is
    #[arg(long)]
    json: bool,
}

/// The commands as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    /// How it stands
    Status,
    /// Stop decoding; volumes are still taken and recorded
    Pause,
    /// Go on decoding
    Resume,
    /// The participant sees neutral feedback
    Blank,
    /// The participant sees the feedback again
    Unblank,
    /// End the open run; volumes of it that still come are refused
    EndRun,
    /// End the run and stop the daemon
    Abort,
}

impl Word {
    fn command(self) -> Command {
        match self {
            Self::Status => Command::Status,
            Self::Pause => Command::Pause,
            Self::Resume => Command::Resume,
            Self::Blank => Command::Blank,
            Self::Unblank => Command::Unblank,
            Self::EndRun => Command::EndRun,
            Self::Abort => Command::Abort,
        }
    }

    /// What to ask before it, if it cannot be taken back.
    fn question(self) -> Option<&'static str> {
        match self {
            Self::EndRun => Some("End the open run? Volumes of it that still come are refused."),
            Self::Abort => Some("End the open run and stop the daemon?"),
            _ => None,
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// Fails when no daemon answers, or the keys cannot be used.
pub fn run(args: &CtlArgs) -> anyhow::Result<Exit> {
    if let Some(question) = args.command.question().filter(|_| !args.yes) {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            eprintln!("error: there is no terminal to confirm this on; pass --yes");
            return Ok(Exit::BadArguments);
        }
        if !confirmed(question, &mut stdin.lock(), &mut std::io::stderr())? {
            eprintln!("nothing was done");
            return Ok(Exit::BadArguments);
        }
    }
    let security = match (&args.key, &args.server_key) {
        (Some(own), Some(server)) => ClientSecurity::from_files(own, server)?,
        _ => ClientSecurity::None,
    };
    let answer = super::runtime()?.block_on(ask(args, &security))?;
    if args.json {
        println!("{answer}");
    } else {
        println!("{}", sentence(&answer));
    }
    let is_done = answer.get("ok").and_then(Value::as_bool).unwrap_or(false);
    Ok(if is_done { Exit::Fine } else { Exit::Failed })
}

/// Asks; only `y` and `yes` confirm.
fn confirmed(
    question: &str,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> std::io::Result<bool> {
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

async fn ask(args: &CtlArgs, security: &ClientSecurity) -> anyhow::Result<Value> {
    let nobody = || {
        let reason = "is it running there, with the key we know it by?";
        anyhow::anyhow!("no daemon answers at {} within 3 s: {reason}", args.endpoint)
    };
    let dealer = Dealer::connect(&args.endpoint, security, &Limits::for_commands()).await?;
    dealer.wait_connected(PATIENCE).await.map_err(|error| match error {
        SocketError::NoAnswer { .. } => nobody(),
        other => other.into(),
    })?;
    let question = json!({ "command": args.command.command() }).to_string();
    dealer.send(vec![Bytes::from(question)]).await?;
    let answered = tokio::time::timeout(PATIENCE, dealer.recv()).await;
    let frames = answered.map_err(|_| nobody())??;
    let answer = frames.first().map(AsRef::as_ref).unwrap_or_default();
    serde_json::from_slice(answer).with_context(|| {
        format!("what listens at {} is not the daemon's control socket", args.endpoint)
    })
}

/// The answer for people: `paused, sub-01_run-1 is open, 1 adapter`.
fn sentence(answer: &Value) -> String {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if answer.get("ok").and_then(Value::as_bool) != Some(true) {
        return format!("refused: {}", text("message").unwrap_or("the daemon does not say why"));
    }
    let mut parts = vec![text("state").unwrap_or("done").replace('_', " ")];
    parts.push(match text("run") {
        Some(run) => format!("{run} is open"),
        None => "no run is open".to_owned(),
    });
    if answer.get("blanked").and_then(Value::as_bool) == Some(true) {
        parts.push("the participant sees neutral feedback".to_owned());
    }
    match answer.get("adapters").and_then(Value::as_u64) {
        Some(1) => parts.push("1 adapter is connected".to_owned()),
        Some(n) => parts.push(format!("{n} adapters are connected")),
        None => {}
    }
    let state = parts.join(", ");
    text("message").map_or_else(|| state.clone(), |message| format!("{message} ({state})"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: CtlArgs,
    }

    #[test]
    fn commands_are_typed_with_a_dash_and_sent_with_an_underscore() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let args = parse("x end-run --yes").unwrap().args;
        assert_eq!(args.command, Word::EndRun);
        let sent = json!({ "command": args.command.command() });
        assert_eq!(sent.to_string(), r#"{"command":"end_run"}"#);
        assert!(parse("x stop").is_err(), "not for operators");
        assert!(parse("x status --key a.key").is_err(), "half of what CURVE needs");
    }

    #[test]
    fn only_a_yes_confirms() {
        for (typed, expected) in [("y\n", true), ("YES\n", true), ("\n", false), ("", false)] {
            let confirmed = confirmed("Sure?", &mut typed.as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(confirmed, expected, "{typed:?}");
        }
    }

    #[test]
    fn the_answer_reads_as_a_sentence() {
        let answer = json!({
            "ok": true, "command": "pause", "run": "sub-01_run-1", "state": "paused",
            "blanked": true, "adapters": 1, "message": "",
        });
        let expected = "paused, sub-01_run-1 is open, the participant sees neutral feedback, \
                        1 adapter is connected";
        assert_eq!(sentence(&answer), expected);
        let refused = json!({ "ok": false, "message": "unknown command" });
        assert_eq!(sentence(&refused), "refused: unknown command");
    }

    #[test]
    fn where_no_daemon_is_the_message_says_so() {
        // A port of the system: a free one might be given to another process meanwhile.
        let endpoint = "tcp://127.0.0.1:1";
        let args = Cli::try_parse_from(["x", "status", "--endpoint", endpoint]).unwrap().args;
        let error = format!("{:#}", run(&args).unwrap_err());
        assert!(error.contains(&format!("no daemon answers at {endpoint}")), "{error}");
    }
}
