#!/usr/bin/env bash
# Runs the test suite again and again beside a load, and prints how often each test failed.
#
#   scripts/repeat_tests.sh [-n PASSES] [-l LOAD] [-o FOLDER] [-p] [-x NAME]... [NAME]...
#
# A test that passes on a quiet machine and fails on a busy one hopes that something keeps up:
# a queue, a subscriber, a clock. One pass does not find it; twenty under load mostly do.
#
#   -n  passes, 20 unless given
#   -l  a command to run beside the tests, `none`, or nothing: stress-ng where it is installed,
#       else one busy process for each core
#   -o  folder for the logs and results.tsv, repeat-tests-out unless given; it is emptied first
#   -p  each pass runs pytest too
#   -x  leaves a test binary out
#
# NAME is a test binary as the first pass prints it, for example `tests/clips`. Without a name
# every binary runs. The log of a binary is kept for each pass in which one of its tests failed.
# A binary that has not ended after LIMIT_S seconds (1800) is killed, and the tests that it did
# not finish count as failed. Exits with 1 when any test failed.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
passes=20 load= out=$root/repeat-tests-out with_pytest= excluded=()
while getopts n:l:o:px: flag; do
    case $flag in
        n) passes=$OPTARG ;;
        l) load=$OPTARG ;;
        o) out=$OPTARG ;;
        p) with_pytest=1 ;;
        x) excluded+=("$OPTARG") ;;
        *) sed -n 's/^#   scripts/usage: scripts/p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
chosen=("$@")
limit=${LIMIT_S:-1800}

# The same files that `make` gives the tests.
export CORTICAST_ONNXRUNTIME=${CORTICAST_ONNXRUNTIME:-$root/.runtime/libonnxruntime.so}
export CORTICAST_PYTHON=${CORTICAST_PYTHON:-$root/.venv/bin/python}

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"

# The tests of the whole system start these two.
${CARGO:-cargo} build --release --locked -p corticast -p corticast-adapter
${CARGO:-cargo} test --release --locked --workspace --no-run --message-format=json >"$out/build.json"

# One line for each test binary: its name, the folder of its crate, its file.
grep '"test":true' "$out/build.json" |
    sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml","target":{"kind":\["\([^"]*\)"[^}]*"name":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1\t\2\t\3\t\4/p' |
    while IFS=$'\t' read -r folder kind name file; do
        [ "$kind" = test ] || name="$name($kind)"
        printf '%s\t%s\t%s\n' "$(realpath --relative-to "$root" "$folder")/$name" "$folder" "$file"
    done | sort >"$out/all.tsv"
while IFS=$'\t' read -r name folder file; do
    case " ${excluded[*]-} " in *" $name "*) continue ;; esac
    case "${#chosen[@]} ${chosen[*]-} " in "0 "*) ;; *" $name "*) ;; *) continue ;; esac
    printf '%s\t%s\t%s\n' "$name" "$folder" "$file"
done <"$out/all.tsv" >"$out/binaries.tsv"
[ -s "$out/binaries.tsv" ] || { echo "no test binary has one of the names: ${chosen[*]-}" >&2; exit 2; }

# The load: process groups of our own, so that exactly they are ended.
loads=()
start_load() {
    setsid bash -c "$1" >/dev/null 2>&1 &
    loads+=("$!")
}
trap 'for id in "${loads[@]}"; do kill -- "-$id" 2>/dev/null || true; done' EXIT
trap 'exit 130' INT TERM
case $load in
    none) ;;
    '')
        if command -v stress-ng >/dev/null; then
            start_load "exec stress-ng --cpu $(nproc) --io 1"
        else
            for _ in $(seq "$(nproc)"); do start_load 'while :; do :; done'; done
        fi
        ;;
    *) start_load "$load" ;;
esac

# Writes `pass, binary, test, result` for each test of a binary, also for those without a result.
note() { # pass name listed log
    local pass=$1 name=$2 listed=$3 log=$4 test result
    while read -r test; do
        result=$(sed -n "s/^test \(.*\) \.\.\. \(ok\|FAILED\|ignored\).*/\1\t\2/p" "$log" |
            awk -F'\t' -v test="$test" '$1 == test { found = $2 } END { print found }')
        printf '%s\t%s\t%s\t%s\n' "$pass" "$name" "$test" "${result:-UNFINISHED}"
    done <"$listed" >>"$out/results.tsv"
}

: >"$out/results.tsv"
for pass in $(seq "$passes"); do
    begun=$SECONDS
    while IFS=$'\t' read -r name folder file; do
        slug=${name//\//-}
        listed=$out/$slug.tests
        [ -e "$listed" ] || "$file" --list --format terse 2>/dev/null | sed -n 's/: test$//p' >"$listed"
        log=$out/$slug.$pass.log
        started=$SECONDS code=0
        (cd "$folder" && CARGO_MANIFEST_DIR=$folder timeout -k 10 "$limit" "$file") \
            >"$log" 2>"$log.stderr" </dev/null || code=$?
        note "$pass" "$name" "$listed" "$log"
        printf '%s\t%s\t%s\t%s\n' "$pass" "$name" "$((SECONDS - started))" "$code" >>"$out/times.tsv"
        [ "$pass" -gt 1 ] || echo "    $name: $((SECONDS - started)) s"
        if [ "$code" = 0 ]; then rm -f "$log" "$log.stderr"; else echo "    pass $pass: $name failed, see $log"; fi
    done <"$out/binaries.tsv"
    if [ -n "$with_pytest" ]; then
        log=$out/pytest.$pass.log code=0
        (cd training && timeout -k 10 "$limit" "$CORTICAST_PYTHON" -m pytest -q -rA) >"$log" 2>&1 </dev/null || code=$?
        # A failure's line goes on with its message; names may have spaces.
        sed -n "s/^\(PASSED\|FAILED\|ERROR\) \(tests.*\)/$pass\tpytest\t\2\t\1/p" "$log" |
            sed 's/ - .*\(\t[A-Z]*\)$/\1/; s/PASSED$/ok/' >>"$out/results.tsv"
        # A pytest that ended without a report of its tests.
        if [ "$code" != 0 ] && ! grep -q '^\(FAILED\|ERROR\) ' "$log"; then
            printf '%s\tpytest\t(exit code %s)\tUNFINISHED\n' "$pass" "$code" >>"$out/results.tsv"
        fi
        if [ "$code" = 0 ]; then rm -f "$log"; else echo "    pass $pass: pytest failed, see $log"; fi
    fi
    echo "pass $pass of $passes: $((SECONDS - begun)) s"
done

awk -F'\t' '
    $4 == "ignored" { next }
    { n[$2 "\t" $3]++ }
    $4 != "ok" { failed[$2 "\t" $3]++; any++ }
    END {
        for (test in n) tests++
        for (test in failed) printf "%d of %d\t%s\n", failed[test], n[test], test | "sort -rn"
        close("sort -rn")
        printf "%d tests in '"$passes"' passes, %d failures\n", tests, any
        exit any > 0
    }' "$out/results.tsv" | tee "$out/failures.txt"
