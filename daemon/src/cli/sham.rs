//! `corticast sham`: the files of a study with sham feedback.
//!
//! Someone who does not run the scan makes the key and seals the assignments. No command but
//! `unblind` tells an arm.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use corticast_bold::{
    feedback::seal::{Arm, SealedAssignment},
    run::RunEntities,
};

use super::print_line;
use crate::{
    exit::Exit,
    offline::sham_scores,
    plan::feedback::{files::json, sealed},
};

const EXAMPLES: &str = "Examples:
  corticast sham key study.key
  corticast sham seal 01 02 03 04 --key study.key --draw real,yoked --out sealed
  corticast sham seal 05 --key study.key --arm real --out sealed
  corticast sham scores session.mcap --out sub-07.scores.json
  corticast sham unblind sealed/*.sealed.json --key study.key

then in the configuration of a participant's session
  [feedback.sham]
  assignment = \"sealed/sub-01.sealed.json\"
  key = \"study.key\"
  scores = \"sub-07.scores.json\"";

/// Makes the files of a study with sham feedback.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ShamArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make the key of a study, which opens its sealed assignments
    Key {
        /// The new file; only its owner can read it
        #[arg(value_name = "OUT.key")]
        out: PathBuf,
    },
    /// Seal who gets real feedback and who sham
    Seal(SealArgs),
    /// Print the arms of sealed assignments
    Unblind {
        /// Sealed assignments
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The study's key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Take what a participant was shown from a recording, to show it to another one
    Scores {
        /// The recording
        #[arg(value_name = "REC.mcap")]
        recording: PathBuf,
        /// The new file
        #[arg(long, value_name = "OUT.json")]
        out: PathBuf,
        /// Use only this run; may be given several times
        #[arg(long = "run", value_name = "NAME")]
        runs: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").required(true)))]
struct SealArgs {
    /// Labels of the participants, as in `sub-01` of their runs
    #[arg(required = true, value_name = "PARTICIPANT")]
    participants: Vec<String>,
    /// The study's key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Give all of them this arm
    #[arg(long, group = "how")]
    arm: Option<ArmName>,
    /// Draw an arm for each at random; arms come equally often, as far as the number allows
    #[arg(long, group = "how", value_delimiter = ',', value_name = "ARM,ARM")]
    draw: Vec<ArmName>,
    /// Folder for the files sub-PARTICIPANT.sealed.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The arms by their names.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ArmName {
    /// The participant's own feedback
    Real,
    /// What another participant saw
    Yoked,
    /// What another participant saw, its blocks exchanged
    Scrambled,
}

impl From<ArmName> for Arm {
    fn from(name: ArmName) -> Self {
        match name {
            ArmName::Real => Self::Real,
            ArmName::Yoked => Self::Yoked,
            ArmName::Scrambled => Self::Scrambled,
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// Fails when a file cannot be read or exists already, and when a label is invalid.
pub fn run(args: &ShamArgs) -> anyhow::Result<Exit> {
    match &args.what {
        What::Key { out } => {
            let hex: String = random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
            write_new(out, format!("{hex}\n").as_bytes(), 0o600)?;
            print_line(&format!(
                "{}: the study's key; keep it secret, because it unblinds",
                out.display()
            ))?;
        }
        What::Seal(args) => seal(args)?,
        What::Unblind { files, key } => unblind(files, key)?,
        What::Scores { recording, out, runs } => {
            let session = sham_scores::scores(recording, runs)?;
            write_new(out, &serde_json::to_vec(&session)?, 0o644)?;
            for (label, run) in &session {
                let n_shown = run.scores.iter().filter(|score| score.shown.is_some()).count();
                let n = run.scores.len();
                print_line(&format!("{label}: {n} volumes, something was shown at {n_shown}"))?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn seal(args: &SealArgs) -> anyhow::Result<()> {
    let key = sealed::key(&args.key)?;
    let mut labels = Vec::new();
    for participant in &args.participants {
        let label = RunEntities::checked(participant, None, None, None)?.sub;
        anyhow::ensure!(!labels.contains(&label), "participant {label} is named twice");
        labels.push(label);
    }
    let arms = match args.arm {
        Some(arm) => vec![arm.into(); labels.len()],
        None => drawn(&args.draw, labels.len())?,
    };
    let path_of = |label: &String| args.out.join(format!("sub-{label}.sealed.json"));
    if let Some(there) = labels.iter().map(path_of).find(|path| path.exists()) {
        anyhow::bail!("{} exists and is not overwritten; nothing was sealed", there.display());
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    for (label, arm) in labels.iter().zip(arms) {
        let file = SealedAssignment::seal(label, arm, &key, random()?);
        let path = path_of(label);
        write_new(&path, format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes(), 0o644)?;
        print_line(&format!("{}: sealed", path.display()))?;
    }
    Ok(())
}

/// Arms for `n` participants in random order.
fn drawn(arms: &[ArmName], n: usize) -> anyhow::Result<Vec<Arm>> {
    let mut round: Vec<Arm> = arms.iter().map(|arm| Arm::from(*arm)).collect();
    let is_twice = (1..round.len()).any(|k| round[..k].contains(&round[k]));
    anyhow::ensure!(
        round.len() > 1 && !is_twice,
        "--draw has {}, expected two or three different arms, such as real,yoked; for one arm use \
         --arm",
        arms.iter().map(|arm| format!("{arm:?}").to_lowercase()).collect::<Vec<_>>().join(",")
    );
    let mut drawn = Vec::new();
    while drawn.len() < n {
        // The last round may be cut, so its order is random too.
        shuffle(&mut round)?;
        drawn.extend_from_slice(&round);
    }
    drawn.truncate(n);
    shuffle(&mut drawn)?;
    Ok(drawn)
}

/// Fisher and Yates' shuffle (Durstenfeld 1964, Communications of the ACM 7:420).
fn shuffle<T>(values: &mut [T]) -> anyhow::Result<()> {
    for last in (1..values.len()).rev() {
        // The bias of this remainder is below 2^-50 for any number of participants.
        let at = u64::from_le_bytes(random()?) % (last as u64 + 1);
        values.swap(last, at as usize);
    }
    Ok(())
}

fn unblind(files: &[PathBuf], key: &Path) -> anyhow::Result<()> {
    let key = sealed::key(key)?;
    let mut lines = vec!["participant\tarm\tused_by".to_owned()];
    for path in files {
        let file: SealedAssignment = json(path)?;
        let opened = file.open(&key, &file.participant, "", None);
        let opened = opened.with_context(|| path.display().to_string())?;
        let arm = match opened.arm() {
            Arm::Real => "real",
            Arm::Yoked => "yoked",
            Arm::Scrambled => "scrambled",
        };
        let used = sealed::used_by(&sealed::used_mark(path));
        let used = used.unwrap_or_else(|_| "n/a".to_owned());
        lines.push(format!("{}\t{arm}\t{used}", file.participant));
    }
    print_line(&lines.join("\n"))?;
    Ok(())
}

/// Random bytes of the system.
fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut source = File::open("/dev/urandom").context("no random numbers")?;
    source.read_exact(&mut bytes).context("no random numbers")?;
    Ok(bytes)
}

/// Writes a file that must not exist.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            anyhow::anyhow!("{} exists and is not overwritten; choose another name", path.display())
        }
        _ => anyhow::anyhow!("{}: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parsed(words: &[&str]) -> ShamArgs {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: ShamArgs,
        }
        <Cli as clap::Parser>::parse_from([&["sham"], words].concat()).args
    }

    #[test]
    fn drawn_arms_are_equally_frequent_and_open_with_the_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (key, other, out) = (path("study.key"), path("other.key"), path("sealed"));
        run(&parsed(&["key", &key])).unwrap();
        run(&parsed(&["key", &other])).unwrap();
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let seal = ["seal", "01", "sub-02", "03", "04", "05", "--key", &key, "--out", &out];
        run(&parsed(&[&seal[..], &["--draw", "real,yoked"]].concat())).unwrap();
        let open = |key: &str, label: &str| {
            let file = folder.path().join(format!("sealed/sub-{label}.sealed.json"));
            let file: SealedAssignment = json(&file).unwrap();
            file.open(&sealed::key(Path::new(key)).unwrap(), label, "one", None)
        };
        let labels = ["01", "02", "03", "04", "05"];
        let n_real = labels.iter().filter(|l| open(&key, l).unwrap().arm() == Arm::Real).count();
        assert!((2..=3).contains(&n_real), "{n_real} of 5");
        assert!(open(&other, "01").is_err());
        for draw in ["real,real", "real", "yoked,real,yoked"] {
            let words = ["seal", "9", "--key", &key, "--out", &out, "--draw", draw];
            let error = run(&parsed(&words)).unwrap_err().to_string();
            assert!(error.contains(&format!("--draw has {draw}, expected two or")), "{error}");
        }
        // Nothing is overwritten, and a label that comes twice is a mistake.
        let error = run(&parsed(&[&seal[..], &["--arm", "real"]].concat())).unwrap_err();
        assert!(error.to_string().contains("is not overwritten; nothing was sealed"), "{error}");
        let twice = ["seal", "6", "sub-6", "--key", &key, "--out", &out, "--arm", "real"];
        let error = run(&parsed(&twice)).unwrap_err();
        assert!(error.to_string().contains("named twice"), "{error}");
    }
}
