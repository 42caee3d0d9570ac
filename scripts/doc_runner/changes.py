"""What differs between the commands that the docs print and the commands that run here."""

from collections.abc import Iterator

INSTEAD: dict[str, list[tuple[str, str, str]]] = {
    "docs/first-run.md": [
        ("git clone … corticast", "cd ~", "the checkout is there already"),
    ],
    "docs/operating.md": [
        ("--volumes 60 ", "--volumes 60 --speed 20 ", "spares a minute of waiting"),
    ],
    "docs/clips.md": [
        ("--speed 2", "--speed 8", "spares most of a minute"),
        ("--speed 4", "--speed 16", "spares most of half a minute, several times"),
        ("tcp://DAEMON:", "tcp://127.0.0.1:", "the other machine is this one"),
    ],
    "docs/scanners.md": [
        ("/mnt/export", "$DICOM", "a folder with a public DICOM file"),
        ("duplicate 9 --speed 5", "duplicate 9 --speed 50", "spares most of a minute"),
        ("tcp://127.0.0.1:5560\n", "tcp://127.0.0.1:5560 5 0.1\n", "5 volumes instead of 20"),
    ],
    "docs/training.md": [
        (
            "--out data --preset tiny",
            "--out data --train-clips 120 --train-segments 6 --test-clips 16",
            "half of the clips: minutes",
        ),
        ("--preset tiny --out brain", "--preset tiny --set brain.epochs=2 --out brain", "minutes"),
        ("decoupler.epochs=150", "decoupler.epochs=1", "minutes"),
        ("--init prior --out", "--init prior --set decoupler.epochs=1 --out", "minutes"),
    ],
}
"""By document: the printed text, the text that runs instead, and the reason."""

SIMULATED = """\
corticast-adapter synthetic --write mask
printf '[signal]\\nmask = "mask/mask.nii.gz"\\n' > site.toml
corticast run --config site.toml &
listening
"""
CLIPS = """\
cp -r "$CHECKOUT/models/demo" model
cat > site.toml <<'END'
[signal]
mask = "model/mask.nii.gz"
[model]
dir = "model"
[generator]
mode = "still"
dir = "model/video"
END
"""
BEFORE = {
    ("README.md", "film"): 'cd "$CHECKOUT"; corticast demo --seconds 10 > demo.log',
    ("README.md", "own run"): """\
cd "$CHECKOUT"
corticast-adapter synthetic --runs 3 --volumes 120 --write raw
for run in 1 2 3; do for kind in bold.nii.gz events.tsv; do
    mv raw/sub-demo_task-shapes_run-${run}_$kind sub-01_run-${run}_$kind; done; done
mv raw/mask.nii.gz .
""",
    ("docs/operating.md", "practice"): SIMULATED,
    ("docs/operating.md", "session"): CLIPS,
    ("docs/recordings.md", "session"): CLIPS,
    ("docs/scanners.md", "nifti"): """\
corticast-adapter synthetic --runs 2 --volumes 6 --tr 0.5 --write raw
for run in 1 2; do for kind in bold.nii.gz events.tsv; do
    cp raw/sub-demo_task-shapes_run-${run}_$kind run-${run}_$kind; done; done
mkdir volumes
python -c 'import nibabel; series = nibabel.load("run-1_bold.nii.gz")
for k, volume in enumerate(nibabel.four_to_three(series)):
    volume.to_filename(f"volumes/{k:04}.nii")'
printf '[signal]\\nmask = "raw/mask.nii.gz"\\n' > site.toml
corticast run --config site.toml &
listening
""",
    ("docs/scanners.md", "dicom"): """\
mkdir export
gunzip -c "$CHECKOUT/tests/data/dicom/skyra.dcm.gz" > export/1.dcm
DICOM=$PWD/export
""",
    ("docs/scanners.md", "bids"): """\
func=ds000117/sub-01/func
mkdir -p $func
corticast-adapter synthetic --volumes 6 --tr 0.5 --write raw
for kind in bold.nii.gz events.tsv; do
    cp raw/sub-demo_task-shapes_run-1_$kind $func/sub-01_task-facerecognition_run-1_$kind; done
echo '{"RepetitionTime": 0.5}' > $func/sub-01_task-facerecognition_run-1_bold.json
printf '[signal]\\nmask = "raw/mask.nii.gz"\\n' > site.toml
corticast run --config site.toml &
listening
""",
    ("docs/scanners.md", "own adapter"): """\
python -c 'import nibabel, numpy
mask = numpy.ones((64, 64, 32), numpy.uint8)
nibabel.Nifti1Image(mask, numpy.diag([3, 3, 3, 1])).to_filename("mask.nii.gz")'
printf '[signal]\\nmask = "mask.nii.gz"\\n' > site.toml
corticast run --config site.toml &
listening
""",
    ("docs/scanners.md", "synthetic"): SIMULATED,
}
"""Files and daemons that a reader has when a run begins, made by shell commands."""


def faults_of_changes(document: str, text: str) -> Iterator[str]:
    """Entries of `INSTEAD` whose text the document no longer prints."""
    for printed, _, _ in INSTEAD.get(document, []):
        if printed not in text:
            yield f"{document}: INSTEAD replaces {printed!r}, which it does not print"
