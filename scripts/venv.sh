#!/usr/bin/env bash
# Makes a Python environment: `scripts/venv.sh linear|train|dev FOLDER`.
#
# Debian packages `venv` apart from python3; if it is missing, pip fetches `virtualenv` into a
# temporary folder. Versions and hashes are pinned in training/requirements-*.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1 folder=$2
requirements=training/requirements-$what.txt
quiet=(--quiet --disable-pip-version-check --root-user-action=ignore)

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: found $(python3 --version), expected Python 3.11 or newer" >&2
    exit 1
}
if [ ! -x "$folder/bin/python" ] || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$folder"
    if ! python3 -m venv "$folder" 2>/dev/null; then
        rm -rf "$folder"
        helper=$(mktemp -d)
        trap 'rm -rf "$helper"' EXIT
        python3 -m pip install "${quiet[@]}" --target "$helper" \
            --require-hashes --requirement scripts/requirements-virtualenv.txt
        PYTHONPATH=$helper python3 -m virtualenv --quiet "$folder"
    fi
fi

echo "installing $requirements into $folder"
"$folder/bin/python" -m pip install "${quiet[@]}" --require-hashes \
    --requirement "$requirements"
# No build isolation: setuptools is pinned above, so pip fetches nothing else for the build.
"$folder/bin/python" -m pip install "${quiet[@]}" --no-deps \
    --no-build-isolation --editable training

# A test installs the linear set by itself, from these files and without a network.
if [ "$what" = dev ]; then
    for needed in training/requirements-linear.txt scripts/requirements-virtualenv.txt; do
        "$folder/bin/python" -m pip download --quiet --disable-pip-version-check \
            --require-hashes --requirement "$needed" --dest "$folder/wheels"
    done
fi
