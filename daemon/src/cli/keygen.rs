//! `corticast keygen`: makes the CURVE keys of a machine.

use std::path::PathBuf;

use anyhow::Context;
use corticast_wire::keys::KeyPair;

use crate::exit::Exit;

const EXAMPLES: &str = "Examples:
  corticast keygen daemon                  on the daemon's machine
  corticast keygen scanner                 on the scanner's machine

then in the daemon's configuration
  [wire]
  adapter = \"tcp://0.0.0.0:5560\"
  key = \"daemon.key\"
  adapter_allow = \"keys/adapters\"          a folder with scanner.pub
  allow = \"keys/subscribers\"               folders with the .pub files of the others
  worker_allow = \"keys/workers\"
  control_allow = \"keys/operators\"

A key on one list opens no other socket.";

/// Makes a machine's key pair for connections off this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct KeygenArgs {
    /// Path of the files, without .key and .pub; the folder must exist
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

/// Runs the command.
///
/// # Errors
///
/// Fails when a file exists or cannot be written. Neither file is then left behind.
pub fn run(args: &KeygenArgs) -> anyhow::Result<Exit> {
    let (own, public) =
        KeyPair::generate().write_files(&args.name).context("no keys were written")?;
    super::print_line(&format!(
        "{}: secret; keep it on this machine, which it identifies",
        own.display()
    ))?;
    super::print_line(&format!(
        "{}: public; copy it to the machines this one talks to:",
        public.display()
    ))?;
    super::print_line("  the daemon's to each client, as its --server-key")?;
    super::print_line("  a client's to the daemon, into the folder of its role in [wire]:")?;
    super::print_line(
        "  `adapter_allow`, `allow` (subscribers), `worker_allow` or `control_allow`",
    )?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_for_its_owner_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let args = KeygenArgs { name: folder.path().join("scanner") };
        run(&args).unwrap();
        let own = folder.path().join("scanner.key");
        let mode = std::fs::metadata(&own).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = std::fs::read(&own).unwrap();
        let error = format!("{:#}", run(&args).unwrap_err());
        assert!(error.contains("scanner.key exists and is not overwritten"), "{error}");
        assert_eq!(std::fs::read(&own).unwrap(), before);
    }
}
