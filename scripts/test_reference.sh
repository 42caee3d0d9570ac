#!/usr/bin/env bash
# Compares with the reference, in Rust and in Python: one line per case with its error, its
# tolerance, and pass or FAIL. CORTICAST_REFERENCE names a folder to use instead of the shipped one.
#
# Fails when a case exceeds its tolerance, when a case of the manifest was not run, or when Rust or
# Python compares nothing; then prints the full output of the side that failed.
set -uo pipefail
cd "$(dirname "$0")/.."
said=$(mktemp)
trap 'rm -f "$said"' EXIT
status=0

side() {
    echo "== $1"
    shift
    "$@" >"$said" 2>&1
    local failed=$?
    grep -E '  (pass|FAIL)( |$)' "$said" | sed -E 's/^test [^ ]+ \.\.\. //' || failed=1
    if [ "$failed" != 0 ]; then
        status=1
        echo "== failed:"
        cat "$said"
    fi
}

side Rust "${CARGO:-cargo}" test --release --locked --workspace --no-fail-fast \
    --test reference --test reference_sampling --test reference_text --test reference_video \
    -- --nocapture
cd training || exit 1
side Python "$CORTICAST_PYTHON" -m pytest -s -k "reference or strength" \
    tests/test_prior.py tests/test_captioner.py tests/test_metrics.py tests/test_video_sampling.py
exit "$status"
