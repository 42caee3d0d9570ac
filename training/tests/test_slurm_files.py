"""configs/slurm without a Slurm: its files run here, with stand-ins for what they call.

The stand-ins write down how they were called, and the parsers of the commands read that. A Slurm
itself is tried by hand: docs/slurm.md.
"""

import argparse
import importlib
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ROOT / "configs" / "slurm"
DAEMON = ROOT / "target" / "release" / "corticast"
STAND_INS = {
    # On a cluster it starts a task on each node: here the one it is.
    "srun": """while [[ $1 == -* ]]; do shift; done
    export SLURM_NODEID=0 SLURM_PROCID=0 SLURMD_NODENAME=a1
    exec "$@"
    """,
    "scontrol": """case "$*" in
    "show hostnames"*) printf 'a1\\na2\\n' ;;
    "show node a1") echo "NodeAddr=10.0.0.1 NodeHostName=a1" ;;
    requeue*) echo "$*" >>requeued ;;
    esac""",
    # To every process of the step.
    "scancel": "touch asked",
    "python": """printf '%s\\n' "$@" >called
    if [ -e wait ]; then
        echo 1 >waiting
        until [ -e asked ]; do sleep 0.05; done
        if [ -e writes ]; then mkdir -p brain/checkpoint-00000007; fi
        exit 1
    fi""",
    # Nobody here has time.
    "sleep": "exec /bin/sleep 0.05",
    "corticast": """printf '%s\\n' "$@" >called
    if [ "$1" = generate ]; then
        echo >>started
        if [ -e refused ]; then exit 1; fi
        if [ -e cancelled ]; then kill -TERM $PPID $$; fi
        if [ "$(wc -l <started)" = 1 ]; then kill -KILL $$; fi
        exit 0
    fi
    while [ $# -gt 0 ]; do
        case $1 in --run) run=$2 ;; --results) out=$2 ;; --conditions) mkdir "$2" ;; esac
        shift
    done
    case $run in *broken*) echo half >"$out"; exit 1 ;; *lossy*) code=3 ;; esac
    echo '{}' >"$out"
    exit ${code:-0}""",
}
WHERE = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "a[1-2]", "SLURM_NNODES": "2"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, body in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\nset -eu\n{body}\n")
        path.chmod(0o755)
    return tmp_path


def start(folder: Path, name: str, *given: str, **variables: str) -> subprocess.Popen[str]:
    own = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHON": "python"}
    return subprocess.Popen(
        ["bash", str(FILES / name), *given],
        cwd=folder,
        env=own | WHERE | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, name: str, *given: str, **variables: str) -> tuple[int, str]:
    job = start(folder, name, *given, **variables)
    said, _ = job.communicate(timeout=300)
    return job.returncode, said


def called(folder: Path) -> list[str]:
    return (folder / "called").read_text().splitlines()


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    options = importlib.import_module(f"corticast_training.options.{argv[0]}")
    options.add_arguments(parser)
    return parser.parse_args(argv[1:])


@pytest.mark.parametrize("path", sorted(FILES.glob("*.sbatch")), ids=lambda path: path.name)
def test_a_batch_file_is_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("stage", ["brain", "decoupler"])
def test_training_gives_torchrun_the_nodes_and_the_stage_its_options(
    stage: str, folder: Path
) -> None:
    given = (stage, "--strategy", "fsdp", "--set", f"{stage}.epochs=2")
    variables = {"PREPARED": "01=p/01 02=p/02", "SLURM_GPUS_ON_NODE": "4"}
    code, said = run(folder, "train.sbatch", *given, **variables)
    assert code == 0, said
    launcher, _, program = " ".join(called(folder)).partition(" corticast_training.cli ")
    assert launcher == (
        "-m torch.distributed.run --nnodes 2 --nproc-per-node 4 --master-addr 10.0.0.1 "
        "--master-port 20042 --signals-to-handle SIGINT --node-rank 0 -m"
    )
    args = parsed(program.split())
    assert args.prepared == ["01=p/01", "02=p/02"]
    assert (str(args.out), args.strategy, args.resume) == (stage, "fsdp", True)


@pytest.mark.parametrize(
    ("writes", "number", "again"),
    [(True, "USR1", True), (False, "USR1", False), (True, "TERM", False)],
    ids=["at the time limit", "without a new checkpoint", "cancelled"],
)
def test_a_job_is_queued_again_only_at_its_time_limit_and_when_it_got_on(
    *, writes: bool, number: str, again: bool, folder: Path
) -> None:
    (folder / "wait").touch()
    if writes:
        (folder / "writes").touch()
    job = start(folder, "train.sbatch", "brain")
    while not (folder / "waiting").exists():
        # It is still at work; a job that ended would never say that it waits.
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(0.05)
    subprocess.run(["kill", f"-{number}", str(job.pid)], check=True)
    said, _ = job.communicate(timeout=300)
    assert (folder / "requeued").exists() == again, said
    assert (job.returncode == 0) == again
    assert ("no checkpoint after the start" in said) == (number == "USR1" and not writes)


def decode(folder: Path, line: int) -> tuple[int, str]:
    return run(folder, "decode.sbatch", SLURM_ARRAY_TASK_ID=str(line), SET="signal.hrf_delay_s=4")


def test_a_recording_that_fails_stops_no_other_and_is_named_by_the_evaluation(
    folder: Path,
) -> None:
    recordings = ["a/one.mcap", "a/broken.mcap", "# a note", "b/x_bold.nii.gz,b/x_events.tsv"]
    (folder / "recordings.txt").write_text("\n".join([*recordings, "a/lossy.mcap"]) + "\n")
    assert [decode(folder, line)[0] for line in range(1, 6)] == [0, 1, 0, 0, 0]
    assert sorted(path.name for path in (folder / "results").iterdir()) == ["lossy", "one", "x"]
    code, said = run(folder, "evaluate.sbatch", "--name", "ours", PRETRAINED="tiny")
    assert code == 3, said
    assert "3 of 4 recordings of recordings.txt are evaluated" in said
    missing = (folder / "report" / "missing.txt").read_text()
    assert missing == "a/broken.mcap\tnot decoded, no results/broken\n"
    args = parsed(called(folder)[2:])
    assert [path.name for path in args.results] == ["one", "x", "lossy"]
    assert (args.name, args.pretrained) == ("ours", "tiny")


def test_an_array_submitted_again_leaves_what_is_there(folder: Path) -> None:
    (folder / "recordings.txt").write_text("a/one.mcap\n")
    assert decode(folder, 1)[0] == 0
    (folder / "called").unlink()
    assert decode(folder, 1) == (0, "results/one is there\n")
    assert not (folder / "called").exists()


def test_two_recordings_of_one_name_are_refused(folder: Path) -> None:
    (folder / "recordings.txt").write_text("a/one.mcap\nb/one.mcap\n")
    code, said = decode(folder, 2)
    assert code == 1
    assert "b/one.mcap and a/one.mcap would both become results/one" in said


def generate(folder: Path) -> tuple[int, str]:
    keys = {"KEY": "worker.key", "SERVER_KEY": "daemon.pub", "SET": "generator.mode=live"}
    return run(folder, "generate.sbatch", CONNECT="tcp://a9:5564", **keys)


def n_started(folder: Path) -> int:
    return len((folder / "started").read_text().splitlines())


def test_a_worker_that_is_killed_is_started_again(folder: Path) -> None:
    code, said = generate(folder)
    assert (code, n_started(folder)) == (0, 2), said
    assert "worker a1-42.0 ended with exit code 137, it is started again" in said
    assert " ".join(called(folder)) == (
        "generate --config site.toml --model model --connect tcp://a9:5564 "
        "--set generator.mode=live --key worker.key --server-key daemon.pub --name a1-42.0"
    )


def test_a_worker_that_is_refused_ends_its_job(folder: Path) -> None:
    (folder / "refused").touch()
    assert generate(folder)[0] == 1
    assert n_started(folder) == 1


def test_a_worker_whose_job_is_cancelled_is_not_started_again(folder: Path) -> None:
    (folder / "cancelled").touch()
    assert generate(folder)[0] == 0
    assert n_started(folder) == 1


def test_a_worker_needs_to_be_told_where_the_daemon_is(folder: Path) -> None:
    code, said = run(folder, "generate.sbatch")
    assert code == 2
    assert "expected the daemon's endpoint for workers" in said


@pytest.mark.skipif(not DAEMON.is_file(), reason="the daemon is not built (make binaries)")
@pytest.mark.parametrize("name", ["decode", "generate"])
def test_the_daemon_s_program_has_every_option_that_a_batch_file_uses(
    name: str, folder: Path
) -> None:
    (folder / "recordings.txt").write_text("a/one.mcap\n")
    code, said = decode(folder, 1) if name == "decode" else generate(folder)
    assert code == 0, said
    command, *given = called(folder)
    shown = subprocess.run(
        [str(DAEMON), command, "--help"], capture_output=True, text=True, check=True
    )
    for option in (item for item in given if item.startswith("--")):
        assert f" {option} <" in shown.stdout
