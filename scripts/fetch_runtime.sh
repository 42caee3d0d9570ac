#!/usr/bin/env bash
# Puts ONNX Runtime's shared library into .runtime/, out of the Python wheel that ships it.
#
# pip is only the downloader: the tags below name the wheel whatever Python is installed here,
# and the hashes in requirements-runtime*.txt decide what is accepted. Does nothing when the
# pinned version is there already.
#
#   scripts/fetch_runtime.sh          CPU, 28 MB
#   GPU=1 scripts/fetch_runtime.sh    CUDA 13 and cuDNN beside it, about 1.8 GB
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=scripts/requirements-runtime.txt
[ "${GPU:-0}" = 1 ] && requirements=scripts/requirements-runtime-gpu.txt
folder=.runtime
# The stamp is the pinned file itself: a new version or GPU=1 fetches again.
if [ -e "$folder/libonnxruntime.so" ] && cmp -s "$requirements" "$folder/requirements.txt"; then
    exit 0
fi

machine=$(uname -m)
case "$machine" in
x86_64 | aarch64) ;;
*) echo "error: no ONNX Runtime wheel for $machine, expected x86_64 or aarch64" >&2; exit 1 ;;
esac
python3 -m pip --version >/dev/null 2>&1 || { echo "error: pip is missing: apt install python3-pip" >&2; exit 1; }

aside=$(mktemp -d .runtime.XXXXXX)
trap 'rm -rf "$aside"' EXIT
echo "fetching ONNX Runtime ($requirements)"
python3 -m pip download --quiet --disable-pip-version-check --require-hashes \
    --only-binary=:all: --no-deps --python-version 3.12 --implementation cp --abi cp312 \
    --platform "manylinux_2_28_$machine" --platform "manylinux_2_27_$machine" \
    --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
    --dest "$aside/wheels" --requirement "$requirements"

# A wheel is a zip. All libraries go into one folder, where they find each other.
python3 - "$aside" <<'PYTHON'
import pathlib, shutil, sys, zipfile

aside = pathlib.Path(sys.argv[1])
found = aside / "found"
found.mkdir()
for wheel in sorted((aside / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = pathlib.PurePosixPath(member).name
            if ".so" in pathlib.PurePosixPath(member).suffixes and name.startswith("lib"):
                with archive.open(member) as packed, (found / name).open("wb") as library:
                    shutil.copyfileobj(packed, library)
versions = sorted(found.glob("libonnxruntime.so.*"))
if not versions:
    sys.exit("error: no libonnxruntime.so.* in the wheel")
(found / "libonnxruntime.so").symlink_to(versions[-1].name)
PYTHON
cp "$requirements" "$aside/found/requirements.txt"
rm -rf "$folder"
mv "$aside/found" "$folder"
echo "ONNX Runtime is in $folder/libonnxruntime.so"
