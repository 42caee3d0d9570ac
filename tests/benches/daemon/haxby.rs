//! Accuracy of the decoder on real data with `scripts/haxby.py`, if the data is available.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::timeout;

use crate::{Chapter, Figure, root};

/// Time limit of the eight folds.
const LIMIT: Duration = Duration::from_secs(180);
/// Tolerance below the accuracy of scikit-learn's ridge.
const WITHIN: f64 = 0.01;
/// What is measured, and what it is compared with.
struct Attempt {
    /// For people.
    name: &'static str,
    /// Variables of the script.
    variables: [(&'static str, &'static str); 4],
    per_tr: f64,
    per_block: f64,
    /// Whether the target is a minimum without tolerance.
    is_least: bool,
}

const ATTEMPTS: [Attempt; 3] = [
    Attempt {
        name: "ridge, normalise `growing`",
        variables: [
            ("NORMALISE", "growing"),
            ("ACROSS", "0"),
            ("METHOD", "ridge"),
            ("EVIDENCE", "0"),
        ],
        per_tr: 0.542,
        per_block: 0.688,
        is_least: false,
    },
    Attempt {
        name: "ridge, normalise `frozen`",
        variables: [
            ("NORMALISE", "frozen"),
            ("ACROSS", "0"),
            ("METHOD", "ridge"),
            ("EVIDENCE", "0"),
        ],
        per_tr: 0.58,
        per_block: 0.70,
        is_least: true,
    },
    Attempt {
        name: "lda across voxels, evidence added up, normalise `growing`",
        variables: [
            ("NORMALISE", "growing"),
            ("ACROSS", "1"),
            ("METHOD", "lda"),
            ("EVIDENCE", "1"),
        ],
        per_tr: 0.64,
        per_block: 0.75,
        is_least: true,
    },
];

pub async fn measure(folder: &Path) -> anyhow::Result<Chapter> {
    let data = data();
    let mut rows = String::new();
    let mut figures = Vec::new();
    for (number, attempt) in ATTEMPTS.iter().enumerate() {
        let Attempt { name, variables, per_tr, per_block, is_least } = *attempt;
        let asked = if is_least {
            format!("at least {per_tr:.2} per TR, {per_block:.2} per block")
        } else {
            format!("{per_tr:.3} per TR, {per_block:.3} per block, at most {WITHIN} below")
        };
        let mut figure = Figure {
            what: format!("Haxby, leave one run out, causal, {name}"),
            asked,
            measured: "not measured".to_owned(),
            floor: "0.125: chance of 8 classes".to_owned(),
            is_met: None,
        };
        if let Some(data) = &data {
            let (tr, block, took) =
                score(data, &variables, &folder.join(number.to_string())).await?;
            // A score above the target also meets it.
            let slack = if is_least { 0.0 } else { WITHIN };
            figure.measured = format!("{tr:.3} per TR, {block:.3} per block");
            figure.is_met = Some(tr >= per_tr - slack && block >= per_block - slack);
            rows += &format!(
                "| {name} | {tr:.3} | {block:.3} | {per_tr:.3} / {per_block:.3} | {:.0} s |\n",
                took.as_secs_f64()
            );
        }
        figures.push(figure);
    }
    let how = "`make haxby` without HAXBY_DIR explains how to get the data";
    let text = if rows.is_empty() {
        format!(
            "## Decoding\n\nNot measured: neither HAXBY_DIR nor CORTICAST_DATA names the data; {how}.\n"
        )
    } else {
        format!(
            "## Decoding\n\nHaxby et al. 2001, subject 1, one slice, eight runs, leave one run \
             out: prepare, train, replay as `make haxby` does. Per TR counts volumes inside a \
             block; per block takes the class with the highest mean probability. The figure asked \
             of ridge is that of a plain ridge classifier on the same data with the same \
             normalisation; `growing` is met if neither score is more than {WITHIN} below it. \
             docs/training.md has all attempts, with their intervals.\n\n\
             | decoder | per TR | per block | asked | eight folds took |\n|---|---|---|---|---|\n{rows}"
        )
    };
    Ok(Chapter { figures, text })
}

/// The folder of the data, if configured and present.
fn data() -> Option<PathBuf> {
    let named = std::env::var_os("HAXBY_DIR").map(PathBuf::from);
    let common = std::env::var_os("CORTICAST_DATA").map(|f| Path::new(&f).join("haxby2001"));
    // Relative paths start at the repository, where `make` runs.
    [named, common].into_iter().flatten().map(|f| root().join(f)).find(|f| f.is_dir())
}

async fn score(
    data: &Path,
    variables: &[(&str, &str)],
    out: &Path,
) -> anyhow::Result<(f64, f64, Duration)> {
    let mut command = Command::new(root().join(".venv/bin/python"));
    command.arg(root().join("scripts/haxby.py")).env("HAXBY_DIR", data).env("HAXBY_OUT", out);
    command.envs(variables.iter().copied()).env_remove("TRAIN").env_remove("TEST");
    let started = Instant::now();
    let done = timeout(LIMIT, tokio::task::spawn_blocking(move || command.output()));
    let output = done.await.context("scripts/haxby.py takes too long")???;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "scripts/haxby.py ended with {}: {errors}", output.status);
    let last = said.lines().last().unwrap_or_default();
    let value = |key: &str| {
        let word = last.split(' ').find_map(|word| word.strip_prefix(key));
        word.and_then(|word| word.parse().ok()).with_context(|| format!("no {key} in {last:?}"))
    };
    Ok((value("per_tr=")?, value("per_block=")?, started.elapsed()))
}
