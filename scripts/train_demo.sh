#!/usr/bin/env bash
# All of training at the preset `tiny`, with the steps of docs/training.md:
# `scripts/train_demo.sh FOLDER [install]`. FOLDER must be new; `install` replaces models/demo
# with the result. Seeds are fixed, and the demo plays a session that was not used for training.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1 install=${2:-}
[ ! -e "$out" ] || {
    echo "error: $out exists, expected a new folder; name another: make train-demo TRAIN_DEMO_DIR=…" >&2
    exit 1
}
# The date in the manifests: the last commit that changed the training code or this script.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct -- training/src scripts/train_demo.sh)}
export SOURCE_DATE_EPOCH
# One thread: the same bits for any number of cores, and no slower on networks this small.
export OMP_NUM_THREADS=1
train=.venv/bin/corticast-train corticast=target/release/corticast
data=$out/data prepared=$out/prepared/sub-01 targets=$out/targets
started=$SECONDS
step() { printf '\n== %4d s  %s\n' $((SECONDS - started)) "$*"; }
# Prints `--run BOLD,EVENTS` for each run of a kind of task ($1), one word a line.
runs() {
    for bold in "$data"/sub-01/func/sub-01_task-$1_run-*_bold.nii.gz; do
        printf -- '--run\n%s,%s\n' "$bold" "${bold%_bold.nii.gz}_events.tsv"
    done
}

step "synth: films, captions and the BOLD of two subjects"
$train synth --out "$data" --preset tiny
step "voxels: a mask of voxels that respond alike to a repeated film"
$train voxels --data "$data" --subject 01
step "prepare: the daemon's own signal path"
mapfile -t train_runs < <(runs 'train*[0-9]')
mapfile -t test_runs < <(runs 'test*[0-9]')
mapfile -t mean_runs < <(runs 'test*mean')
session=(--config "$data/prepare.toml" --set "signal.mask=$data/sub-01/mask.nii.gz")
$corticast prepare "${session[@]}" "${train_runs[@]}" --out "$prepared"
step "targets: what the networks learn to decode"
$train targets --data "$data" --pretrained tiny --preset tiny --out "$targets"
step "brain: stage 1"
$train brain --data "$data" --prepared "01=$prepared" --targets "$targets" --preset tiny --out "$out/brain"
stage2=(--brain "$out/brain" --data "$data" --prepared "01=$prepared" --targets "$targets")
step "decoupler: stage 2, only its prior"
$train decoupler "${stage2[@]}" --set decoupler.decoupled=false --set decoupler.epochs=150 \
    --out "$out/prior"
step "decoupler: stage 2, with all tasks"
$train decoupler "${stage2[@]}" --init "$out/prior" --out "$out/decoupler"
step "export: ONNX and a manifest"
$train export --decoupler "$out/decoupler" --targets "$targets" --subject 01 --name demo \
    --precision fp16-storage --vae tiny --out "$out/model"
step "replay: the test session through the daemon"
$corticast replay "${session[@]}" --model "$out/model" "${test_runs[@]}" \
    --results "$out/results/results.jsonl" --conditions "$out/results/conditions"
$corticast replay "${session[@]}" --model "$out/model" "${mean_runs[@]}" \
    --results "$out/results-mean/results.jsonl" --conditions "$out/results-mean/conditions"
step "evaluate: scores, and pictures in report.html"
$train evaluate --results "$out/results" --mean "$out/results-mean" --data "$data" \
    --targets "$targets" --pretrained tiny --out "$out/report"
step "tiny-video: networks of the AnimateDiff stage"
$train tiny-video --data "$data" --out "$out/video"
step "done"
[ -z "$install" ] && exit

model=$(mktemp -d models/.demo.XXXXXX)
cp -r "$out/model/." "$model"
cp "$data/sub-01/mask.nii.gz" "$model/mask.nii.gz"
cp -r "$out/video" "$model/video"
mkdir "$model/session"
cp "$data"/sub-01/func/sub-01_task-test01_run-1_* "$model/session"
cp "$data/clips/test.jsonl" "$model/session/clips.jsonl"
chmod 755 "$model"
rm -rf models/demo
mv "$model" models/demo
du -sh models/demo
