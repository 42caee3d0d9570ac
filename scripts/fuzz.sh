#!/usr/bin/env bash
# Feeds changed bytes to everything that reads bytes of others: scripts/fuzz.sh [TARGET …]
#
#   SECONDS_EACH=60  how long each target runs
#   RUNS=0           how many inputs each target gets instead, whatever the time
#
# Needs a stable toolchain and a C++ compiler, nothing else. The inputs that reached new code are
# kept in target/fuzz-corpus, and are where the next run starts. An input that fails is written
# to fuzz/findings/TARGET: mend the fault and commit the file, and `make test` tries it ever after.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-60}
runs=${RUNS:-0}
host=$(rustc -vV | sed -n 's/^host: //p')
# Without --locked: a new dependency of the programs must not stop the search. Counts which code
# runs; with a named target, cargo applies this to no build script.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table" \
    "${CARGO:-cargo}" build --release --manifest-path fuzz/Cargo.toml \
    --target "$host" --target-dir target/fuzz
program=target/fuzz/$host/release/corticast-fuzz

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # one word for each target
    set -- $(sed -n 's/^    ("\([a-z-]*\)", [a-z_]*),$/\1/p' fuzz/src/targets.rs)
fi
limit=(-max_total_time="$seconds")
[ "$runs" = 0 ] || limit=(-runs="$runs")
failed=()
for target in "$@"; do
    corpus=target/fuzz-corpus/$target
    findings=fuzz/findings/$target
    mkdir -p "$corpus" "$findings"
    log=target/fuzz-corpus/$target.log
    if CORTICAST_FUZZ=$target CORTICAST_FUZZ_SEEDS=$corpus "$program" "$corpus" "$findings" \
        "${limit[@]}" -timeout=10 -rss_limit_mb=2048 -max_len=20000 -print_final_stats=1 \
        -artifact_prefix="$findings/" >"$log" 2>&1; then
        sed -n "s/^stat::number_of_executed_units: */$target: no fault in /p" "$log"
    else
        failed+=("$target")
        echo "$target: a fault, see $log"
        tail -5 "$log"
    fi
    rmdir --ignore-fail-on-non-empty "$findings"
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz.sh: faults in ${failed[*]}"; exit 1; }
