"""The commands that README.md and docs/ print work, and `doc_commands.py` finds it if not."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "doc_commands.py"
DAEMON = ROOT / "target" / "release" / "corticast"


@pytest.fixture(scope="module")
def docs() -> dict[str, Any]:
    """What the script defines."""
    return runpy.run_path(str(SCRIPT))


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


def programs(docs: dict[str, Any], folder: Path) -> Any:
    return docs["Programs"](folder, f"{folder / 'bin'}:{os.environ['PATH']}")


def page(*blocks: tuple[str, str, str]) -> str:
    """Blocks of mark, language and text."""
    return "\n".join(f"Text.\n\n{mark}\n```{lang}\n{text}\n```\n" for mark, lang, text in blocks)


def marks(docs: dict[str, Any], text: str) -> list[str]:
    return list(docs["faults_of_marks"](docs["blocks_of"]("a.md", text)))


def commands(docs: dict[str, Any], folder: Path, text: str) -> list[str]:
    return list(docs["faults_of_commands"]("a.md", text, programs(docs, folder)))


def run(docs: dict[str, Any], folder: Path, text: str) -> list[str]:
    (folder / "a.md").write_text(text)
    found: list[str] = docs["run_all"](folder, ["a.md"], programs(docs, folder), False)
    return found


@pytest.mark.parametrize("language", ["sh", "console", "toml", "python", "json"])
def test_a_block_without_a_mark_is_found(docs: dict[str, Any], language: str) -> None:
    (fault,) = marks(docs, page(("", language, "")))
    assert fault.startswith(f"a.md:4: a block of {language} without a mark")
    assert fault.endswith("`<!-- shown: REASON -->` before it")
    assert marks(docs, page(("<!-- shown: an example -->", language, ""))) == []
    assert marks(docs, page(("", "text", "what is printed"))) == []


def test_a_mark_that_means_nothing_is_found(docs: dict[str, Any]) -> None:
    (fault,) = marks(docs, page(("<!-- run: first, in checkout, often -->", "sh", "true")))
    assert "'often'" in fault
    (fault,) = marks(docs, page(("<!-- run: first -->", "toml", "[signal]")))
    assert "`as FILE`" in fault
    (fault,) = marks(docs, page(("<!-- shown: why -->", "toml", "[signal")))
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
    docs: dict[str, Any], stand_ins: Path, mark: str, printed: str, said: str | None
) -> None:
    found = commands(docs, stand_ins, page((f"<!-- {mark} -->", "sh", printed)))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_a_command_that_no_program_has_is_found_in_the_text(
    docs: dict[str, Any], stand_ins: Path
) -> None:
    (fault,) = commands(docs, stand_ins, "Then `corticast run --konfig FILE` starts it.")
    assert "in the text" in fault and "--konfig" in fault
    (fault,) = commands(docs, stand_ins, page(("", "text", "$ corticast start\nit says")))
    assert "`start`" in fault


def test_blocks_of_one_name_share_folder_and_shell(
    docs: dict[str, Any], stand_ins: Path, capfd: pytest.CaptureFixture[str]
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
    assert run(docs, stand_ins, text) == [], capfd.readouterr().out


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
    docs: dict[str, Any],
    stand_ins: Path,
    block: tuple[str, str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(docs, stand_ins, page(block)) == ["a.md: the run `one` failed, see above"]
    assert "a.md:4" in capfd.readouterr().out


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
    assert done.returncode == 0, "see what was printed"
