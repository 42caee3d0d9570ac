#!/usr/bin/env bash
# Makes models/demo again: a linear decoder of the simulated brain, and the mask it was drawn
# on. Seeds are fixed and none is that of the demo's own run, so the demo shows decoding of
# data the model never saw. The same versions give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
# The date in the manifest: that of the last change of what the model is made with.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct -- adapters/src/synthetic training/src scripts/demo_model.sh)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
./target/release/corticast-adapter synthetic --seed 101 --runs 6 --write "$work/raw"
runs=()
for bold in "$work"/raw/*_bold.nii.gz; do
    runs+=(--run "$bold,${bold%_bold.nii.gz}_events.tsv")
done
CORTICAST_SIGNAL__MASK="$work/raw/mask.nii.gz" \
    ./target/release/corticast prepare --config configs/demo.toml "${runs[@]}" --out "$work/prepared"
.venv/bin/corticast-train linear --data "$work/prepared" --target trial_type \
    --name demo --out models/demo --force
cp "$work/raw/mask.nii.gz" models/demo/mask.nii.gz
