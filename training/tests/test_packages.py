"""Each set of packages is enough for the commands that name it in `cli.COMMANDS`.

`linear` is installed alone into a fresh environment, and its command is run there. For `train`,
which takes gigabytes, every command is run in the environment of the tests while all packages are
blocked that only the development set brings.
"""

import ast
import importlib.metadata
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from conftest import MakeRun
from corticast_training import choices
from corticast_training.baseline import neuroclips
from corticast_training.cli import COMMANDS
from corticast_training.commands.baseline import DIFFERENCES
from corticast_training.synth.dataset import PRESETS
from movie_study import Study
from projecting import image

TRAINING = Path(__file__).parents[1]
SOURCE = TRAINING / "src"
SETS = ("linear", "train", "dev")
WHEELS = Path(sys.prefix) / "wheels"

BLOCK = """\
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Blocked())
"""
RUN_ALL = """\
import json
import sys

from corticast_training.cli import main

codes = []
for argv in json.load(sys.stdin):
    print("+", *argv, file=sys.stderr, flush=True)
    codes.append(main(argv))
print(json.dumps(codes))
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(packages: str) -> dict[str, str]:
    """Package → version."""
    text = (TRAINING / f"requirements-{packages}.txt").read_text()
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+) \\$", text, re.MULTILINE)
    return {normal(name): version for name, version in found}


def asked(packages: str) -> set[str]:
    """Packages that a set asks for by name, without those of the sets that it includes."""
    lines = (TRAINING / f"requirements-{packages}.in").read_text().splitlines()
    return {normal(re.split("[>=]", line)[0]) for line in lines if line[:1].isalpha()}


def without_packages(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Runs Python with the standard library and this package, and nothing else."""
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_sets_contain_each_other_in_the_same_versions() -> None:
    for smaller, larger in itertools.pairwise(SETS):
        own, other = locked(smaller), locked(larger)
        assert own and own.items() <= other.items(), f"{smaller} and {larger} disagree"


def test_the_extras_of_the_package_ask_for_what_the_sets_ask_for() -> None:
    extras = tomllib.loads((TRAINING / "pyproject.toml").read_text())["project"]
    for packages in ("linear", "train"):
        listed = {
            normal(re.split("[>=[]", item)[0]) for item in extras["optional-dependencies"][packages]
        } - {"corticast-training"}
        assert listed == asked(packages) - {"setuptools"}


def test_every_help_works_without_any_package_and_names_the_set() -> None:
    run = "from corticast_training.cli import main; main(input().split())"
    for name, command in COMMANDS.items():
        done = without_packages("-c", run, given=f"{name} --help\n")
        assert done.returncode == 0, done.stderr
        assert f"needs the packages of `make .venv/{command.packages}.stamp`" in done.stdout
    done = without_packages("-c", run, given="--help\n")
    assert done.returncode == 0, done.stderr
    assert "make .venv/linear.stamp    synth, linear, project\n" in done.stdout


@pytest.mark.parametrize("name", ["linear", "tiny-video"])
def test_a_command_without_its_packages_says_in_one_line_what_brings_them(name: str) -> None:
    more = ["--target", "x"] if name == "linear" else []
    arguments = ["-m", "corticast_training.cli", name, "--data", "x", "--out", "y", *more]
    done = without_packages(*arguments)
    assert done.returncode == 1
    target = f"make .venv/{COMMANDS[name].packages}.stamp"
    said = rf"error: corticast-train {name} needs the packages of `{target}` \(missing: \w+\)\n"
    assert re.fullmatch(said, done.stderr), done.stderr


def test_what_options_offer_is_what_the_code_knows() -> None:
    assert sorted(PRESETS) == list(choices.SYNTH_PRESETS)
    assert tuple(DIFFERENCES) == choices.BASELINES
    assert DIFFERENCES["neuroclips-like"] == neuroclips.DIFFERENCE


def imported(module: str) -> Iterator[str]:
    """Absolute names that a module of this package imports, inside of functions too."""
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def path_of(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def reached(module: str) -> set[str]:
    """Top-level packages that a module imports, directly or through other modules of ours."""
    seen, todo, found = set(), [module], set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        for name in imported(one):
            if name.startswith("corticast_training"):
                todo += [name] if path_of(name).is_file() else []
            else:
                found.add(name.partition(".")[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_import_of_a_command_is_in_its_set(name: str) -> None:
    packages = set(locked(COMMANDS[name].packages))
    brought_by = importlib.metadata.packages_distributions()
    for top in reached(f"corticast_training.commands.{name.replace('-', '_')}"):
        found = {normal(item) for item in brought_by.get(top, [])}
        assert found & packages, f"{name} imports {top}, and {COMMANDS[name].packages} has no such"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the linear set."""
    folder = tmp_path_factory.mktemp("linear") / "venv"
    local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS)} if WHEELS.is_dir() else {}
    # The interpreter of the tests would bring its own packages along.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [TRAINING.parent / "scripts" / "venv.sh", "linear", folder],
        env=environment | local,
        check=True,
    )
    return folder / "bin"


def test_the_linear_set_alone_trains_a_linear_decoder(
    fresh: Path, make_run: MakeRun, tmp_path: Path
) -> None:
    for seed in range(3):
        data = make_run(f"sub-01_run-{seed + 1}", seed=seed)
    for method in choices.LINEAR_METHODS:
        out = tmp_path / method
        given = ["--data", str(data), "--target", "trial_type", "--method", method]
        done = ran(fresh / "corticast-train", "linear", *given, "--out", out)
        assert done.returncode == 0, done.stderr
        assert f"wrote {out} (checked in ONNX Runtime)" in done.stdout
        assert (out / "manifest.toml").is_file()


def test_the_linear_set_alone_projects_a_mask(fresh: Path, tmp_path: Path) -> None:
    mask = image(tmp_path / "mask.nii.gz", np.ones((3, 3, 3), np.uint8))
    given = ("--reference", mask, "--mask", mask, "--out", tmp_path / "out.safetensors")
    done = ran(fresh / "corticast-train", "project", *given)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.safetensors").is_file()


def test_the_linear_set_alone_shows_all_help_and_what_brings_the_rest(
    fresh: Path, study: Study, tmp_path: Path
) -> None:
    for name, argv in every_command(study, tmp_path).items():
        assert ran(fresh / "corticast-train", name, "--help").returncode == 0
        if COMMANDS[name].packages != "linear":
            done = ran(fresh / "corticast-train", *argv)
            assert done.returncode == 1
            assert "needs the packages of `make .venv/train.stamp` (missing: " in done.stderr
            assert done.stderr.count("\n") == 1, done.stderr


def test_the_linear_set_is_enough_for_the_script_of_make_haxby(fresh: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "HAXBY_DIR"}
    done = subprocess.run(
        [fresh / "python", TRAINING.parent / "scripts" / "haxby.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "HAXBY_DIR is not set" in done.stderr


def test_the_train_set_is_enough_for_every_command(study: Study, tmp_path: Path) -> None:
    only_dev = set(locked("dev")) - set(locked("train"))
    brought_by = importlib.metadata.packages_distributions()
    names = {top for top, by in brought_by.items() if {normal(one) for one in by} <= only_dev}
    assert {"pytest", "zmq", "msgpack"} <= names
    # Read by every Python that is started, so that processes of the commands are blocked, too.
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "sitecustomize.py").write_text(BLOCK.format(names=sorted(names)))
    commands = every_command(study, tmp_path)
    assert commands.keys() == COMMANDS.keys()
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "block"), "OMP_NUM_THREADS": "1"},
        input=json.dumps(list(commands.values())),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes = dict(zip(commands, json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert "needs the packages" not in done.stderr, done.stderr
    assert {name for name, code in codes.items() if code != 0} == set(NOT_RUN), done.stderr


NOT_RUN = {
    "cc2017": "the data set is not here",
    "labels": "asks a server",
    "export-animatediff": "the pretrained networks are not here",
    "tiny-video": "takes minutes",
    "linear": "run in an environment of its own",
}
"""Commands that are run up to the check of what they read, past all imports at the top of files."""


def every_command(study: Study, tmp_path: Path) -> dict[str, list[str]]:
    """A command line of each command; those of `NOT_RUN` fail on what they are to read."""
    data, missing = str(study.movie.folder), str(tmp_path / "missing")
    targets, prepared = str(study.targets), f"01={study.prepared('01')}"

    def out(name: str) -> str:
        return str(tmp_path / name)

    inputs = ["--data", data, "--targets", targets, "--prepared", prepared]
    cpu = ["--accelerator", "cpu"]
    small = ["--train-clips", "8", "--train-segments", "2", "--test-clips", "4"]
    folders = ("unet", "motion", "controlnet", "vae", "text-encoder")
    lines: dict[str, Sequence[str]] = {
        "synth": ["--out", out("synth"), "--subjects", "1", *small],
        "cc2017": ["--source", missing, "--out", out("cc2017")],
        "labels": [
            "describe",
            "--data",
            missing,
            "--model",
            "m",
            "--endpoint",
            "http://[::1]:9/v1",
        ],
        "voxels": ["--data", data, "--subject", "01", "--top", "20", "--out", out("mask.nii.gz")],
        "targets": [
            *("--data", data, "--pretrained", "tiny", "--preset", str(study.config)),
            *("--out", out("targets")),
        ],
        "brain": [*inputs, *cpu, "--preset", str(study.config), "--out", out("brain")],
        "decoupler": [*inputs, *cpu, "--brain", out("brain"), "--out", out("stage2")],
        "export": ["--decoupler", out("stage2"), "--targets", targets, "--out", out("model")],
        "baseline": [*inputs, "--preset", "wen-like", "--out", out("wen-like")],
        "evaluate": [
            *("--results", out("wen-like"), "--data", data, "--targets", targets),
            *("--out", out("report")),
        ],
        "interpret": [
            *("--decoupler", out("stage2"), *inputs, "--subject", "01", "--epochs", "1"),
            *("--mask", str(study.movie.layout.brain_mask("01")), "--out", out("maps")),
        ],
        "tiny-video": ["--data", missing, "--out", out("video")],
        "linear": ["--data", missing, "--target", "trial_type", "--out", out("linear")],
        "project": [
            *("--reference", str(study.movie.layout.brain_mask("01"))),
            *("--mask", str(study.movie.layout.brain_mask("01"))),
            *("--out", out("projected.safetensors")),
        ],
        "export-animatediff": [
            *(word for folder in folders for word in (f"--{folder}", missing)),
            *("--out", out("animatediff")),
        ],
    }
    return {name: [name, *arguments] for name, arguments in lines.items()}


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
