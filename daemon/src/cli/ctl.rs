//! `corticast ctl`: sends an operator's command to a running daemon.

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

/// Time within which the daemon must answer.
const PATIENCE: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "Examples:
  corticast ctl status
  corticast ctl pause
  corticast ctl end-run --yes
  corticast ctl blank --endpoint tcp://daemon:5563 --key me.key --server-key daemon.pub

Exit codes: 0 done, 1 refused or no daemon answers, 2 bad arguments or not confirmed.";

/// Sends a command to a running daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CtlArgs {
    /// The command
    command: Word,
    /// The daemon's control socket
    #[arg(long, default_value = "tcp://127.0.0.1:5563", value_name = "ENDPOINT")]
    endpoint: String,
    /// The operator's key file, for a daemon on another machine
    #[arg(long, requires = "server_key", value_name = "FILE.key")]
    key: Option<PathBuf>,
    /// The daemon's public key file
    #[arg(long, requires = "key", value_name = "FILE.pub")]
    server_key: Option<PathBuf>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    json: bool,
}

/// The commands as an operator types them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    /// Show the state of the session
    Status,
    /// Pause decoding; volumes are still accepted and recorded
    Pause,
    /// Resume decoding
    Resume,
    /// Show the participant neutral feedback
    Blank,
    /// Show the participant the real feedback again
    Unblank,
    /// End the open run; its later volumes are refused
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

    /// The question to confirm a command that cannot be undone.
    fn question(self) -> Option<&'static str> {
        match self {
            Self::EndRun => Some("End the open run? The daemon will refuse its later volumes."),
            Self::Abort => Some("End the open run and stop the daemon?"),
            _ => None,
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// Fails when no daemon answers, or the keys cannot be read.
pub fn run(args: &CtlArgs) -> anyhow::Result<Exit> {
    if let Some(question) = args.command.question().filter(|_| !args.yes) {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            eprintln!("error: there is no terminal to ask for confirmation; pass --yes");
            return Ok(Exit::BadArguments);
        }
        if !confirmed(question, &mut stdin.lock(), &mut std::io::stderr())? {
            eprintln!("not confirmed; nothing was done");
            return Ok(Exit::BadArguments);
        }
    }
    let security = match (&args.key, &args.server_key) {
        (Some(own), Some(server)) => ClientSecurity::from_files(own, server)?,
        _ => ClientSecurity::None,
    };
    let answer = super::runtime()?.block_on(ask(args, &security))?;
    if args.json {
        super::print_line(&answer.to_string())?;
    } else {
        super::print_line(&sentence(&answer))?;
    }
    let is_done = answer.get("ok").and_then(Value::as_bool).unwrap_or(false);
    Ok(if is_done { Exit::Fine } else { Exit::Failed })
}

/// Asks the operator; only `y` and `yes` confirm.
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
        let advice = "check that it is running and that --server-key is its key";
        anyhow::anyhow!("no daemon answers at {} within 3 s; {advice}", args.endpoint)
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
    serde_json::from_slice(answer)
        .with_context(|| format!("{} is not the control socket of a daemon", args.endpoint))
}

/// The answer as a sentence: `paused, sub-01_run-1 is open, 1 adapter is connected`.
fn sentence(answer: &Value) -> String {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if answer.get("ok").and_then(Value::as_bool) != Some(true) {
        return format!("refused: {}", text("message").unwrap_or("the daemon gave no reason"));
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
        assert!(parse("x stop").is_err(), "operators cannot send it");
        assert!(parse("x status --key a.key").is_err(), "CURVE needs both keys");
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
        // A reserved port: the system might give a free port to another process meanwhile.
        let endpoint = "tcp://127.0.0.1:1";
        let args = Cli::try_parse_from(["x", "status", "--endpoint", endpoint]).unwrap().args;
        let error = format!("{:#}", run(&args).unwrap_err());
        assert!(error.contains(&format!("no daemon answers at {endpoint}")), "{error}");
    }
}
