"""The commands that README.md and docs/ print work, and the runner finds those that do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doc_runner.blocks import blocks_of, faults_of_marks
from doc_runner.changes import INSTEAD, faults_of_changes
from doc_runner.programs import Programs, faults_of_commands
from doc_runner.runs import run_all

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "doc_commands.py"
DAEMON = ROOT / "target" / "release" / "corticast"


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """A repository with a daemon that has one command with one option, and one make target."""
    programs = tmp_path / "bin"
    programs.mkdir()
    daemon = programs / "corticast"
    daemon.write_text(
        """#!/usr/bin/env bash
case "$*" in
--help) printf 'Commands:\\n  run  Runs\\n  help  Helps\\n\\nOptions:\\n  -h, --help\\n' ;;
"run --help") printf 'Options:\\n      --config <FILE>\\n  -h, --help\\n' ;;
"run --config "*) echo "runs with $3" ;;
*) exit 2 ;;
esac
"""
    )
    daemon.chmod(0o755)
    (tmp_path / "Makefile").write_text("demo:\n\ttrue\n")
    return tmp_path


def search_path(folder: Path) -> str:
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def programs(folder: Path) -> Programs:
    return Programs(folder, search_path(folder))


def page(*blocks: tuple[str, str, str]) -> str:
    """Blocks of mark, language and text."""
    return "\n".join(f"Text.\n\n{mark}\n```{lang}\n{text}\n```\n" for mark, lang, text in blocks)


def marks(text: str) -> list[str]:
    return list(faults_of_marks(blocks_of("a.md", text)))


def commands(folder: Path, text: str) -> list[str]:
    return list(faults_of_commands("a.md", text, programs(folder)))


def run(folder: Path, text: str) -> list[str]:
    (folder / "a.md").write_text(text)
    return run_all(folder, ["a.md"], search_path(folder), verbose=False)


@pytest.mark.parametrize("language", ["sh", "console", "toml", "python", "json"])
def test_a_block_without_a_mark_is_found(language: str) -> None:
    (fault,) = marks(page(("", language, "")))
    assert fault.startswith(f"a.md:4: a block of {language} without a mark")
    assert fault.endswith("`<!-- shown: REASON -->` before it")
    assert marks(page(("<!-- shown: an example -->", language, ""))) == []
    assert marks(page(("", "text", "what is printed"))) == []


def test_a_mark_that_means_nothing_is_found() -> None:
    (fault,) = marks(page(("<!-- run: first, in checkout, often -->", "sh", "true")))
    assert "'often'" in fault
    (fault,) = marks(page(("<!-- run: first -->", "toml", "[signal]")))
    assert "`as FILE`" in fault
    (fault,) = marks(page(("<!-- shown: why -->", "toml", "[signal")))
    assert "not TOML" in fault


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("corticast run --config a.toml", None),
        ("target/release/corticast run --config=a.toml &", None),
        ("corticast run --konfig a.toml", "`corticast run` has no option `--konfig`"),
        ("corticast run --config a.toml \\\n    --speed 2", "has no option `--speed`"),
        ("cd here && corticast start", "`corticast` has no command `start`"),
        ("for run in 1 2; do corticast start; done", "has no command `start`"),
        ("# corticast start", None),
        ("make demo", None),
        ("make demos", "`make demos`"),
        ("cat configs/none.toml", "configs/none.toml is not in the repository"),
    ],
)
@pytest.mark.parametrize("mark", ["run: first", "shown: it is not here"])
def test_a_command_that_no_program_has_is_found_in_every_block(
    stand_ins: Path, mark: str, printed: str, said: str | None
) -> None:
    found = commands(stand_ins, page((f"<!-- {mark} -->", "sh", printed)))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_a_command_that_no_program_has_is_found_in_the_text(stand_ins: Path) -> None:
    (fault,) = commands(stand_ins, "Then `corticast run --konfig FILE` starts it.")
    assert "in the text" in fault and "--konfig" in fault
    (fault,) = commands(stand_ins, page(("", "text", "$ corticast start\nit says")))
    assert "`start`" in fault


def test_blocks_of_one_name_share_folder_and_shell(
    stand_ins: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = page(
        ("<!-- run: one -->", "sh", "name=here\necho 1 > file"),
        ("<!-- run: two -->", "sh", 'test -z "$name" && ! test -e file'),
        ("<!-- run: one, as site.toml -->", "toml", "[signal]"),
        (
            "<!-- run: one, as add.py file -->",
            "python",
            "import sys\nopen(sys.argv[1])",
        ),
        ("<!-- run: one, prints runs with site.toml -->", "sh", "corticast run --config site.toml"),
        ("<!-- run: one -->", "sh", "test $name = here && grep -q signal site.toml"),
    )
    assert run(stand_ins, text) == [], capfd.readouterr().out


@pytest.mark.parametrize(
    "block",
    [
        ("<!-- run: one -->", "sh", "true\nfalse\ntrue"),
        ("<!-- run: one -->", "sh", "false | true"),
        ("<!-- run: one, prints True -->", "sh", "echo False"),
        ("<!-- run: one, as fail.py -->", "python", "raise SystemExit(3)"),
    ],
)
def test_a_command_that_fails_fails_the_run(
    stand_ins: Path,
    block: tuple[str, str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(stand_ins, page(block)) == ["a.md: the run `one` failed, see above"]
    assert "a.md:4" in capfd.readouterr().out


def test_a_change_to_text_that_is_gone_is_found() -> None:
    (document, changes), *_ = INSTEAD.items()
    text = "\n".join(printed for printed, _, _ in changes)
    assert list(faults_of_changes(document, text)) == []
    assert len(list(faults_of_changes(document, ""))) == len(changes)


def test_what_a_document_prints_works() -> None:
    """Every block of the documents; see the marks above them."""
    if not DAEMON.is_file():
        pytest.skip(f"{DAEMON} is not built: `make test` builds it")
    done = subprocess.run(
        [sys.executable, SCRIPT, "run"],
        env={**os.environ, "CORTICAST_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, "see the output above"
