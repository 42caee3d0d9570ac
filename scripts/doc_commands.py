"""Runs the commands that README.md and docs/ print, so that they work as a reader types them.

    scripts/doc_commands.py check            every block is marked, every flag and target exists
    scripts/doc_commands.py run [FILE…]      the same, and runs the blocks; FILE as docs/clips.md

Each block of commands or of a file has a mark, a comment on the line before its fence:

    run: NAME               run in a folder of its own; blocks of one NAME in a file share a shell
    run: NAME, in checkout  the same, starting in the checkout
    run: NAME, as FILE      write the block to that file; run a .py file with the words after FILE
    … prints TEXT           the output must contain TEXT, with a space for each line end
    … scan                  send a recorded scan once the daemons of the block listen
    … stop                  then send Ctrl-C to the commands that wait for it; they must end well
    shown: REASON           not run; its commands are still compared with the programs

A reader starts a command that serves until it is stopped (`SERVES`) in a terminal of its own; here
it runs in the background. `INSTEAD` lists all other changes, each with its reason. The programs are
those of target/release and .venv. If the system allows it, each run has a network of its own, so
that the ports of the docs are free and nothing can be fetched; otherwise these ports must be free.
Exit codes: 0 fine, 1 something failed, 2 bad arguments.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from doc_runner.blocks import blocks_of, faults_of_marks
from doc_runner.changes import faults_of_changes
from doc_runner.programs import Programs, faults_of_commands
from doc_runner.runs import end_all, run_all

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "DESIGN.md")


def documents(root: Path) -> list[str]:
    """Documents that print commands, relative to the root."""
    return [*DOCUMENTS, *sorted(f"docs/{path.name}" for path in (root / "docs").glob("*.md"))]


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, and runs what is asked for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("check", "run"))
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: all documents")
    parser.add_argument("--verbose", action="store_true", help="print the output of the blocks")
    args = parser.parse_args(argv)
    python = Path(os.environ.get("CORTICAST_PYTHON", sys.executable)).parent
    path = f"{ROOT / 'target/release'}:{python}:{os.environ['PATH']}"
    programs = Programs(ROOT, path)
    faults: list[str] = []
    chosen = args.files or documents(ROOT)
    for document in chosen:
        text = (ROOT / document).read_text(encoding="utf-8")
        faults += faults_of_marks(blocks_of(document, text))
        faults += faults_of_commands(document, text, programs)
        faults += faults_of_changes(document, text)
    if not faults and args.what == "run":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end_all)
        faults = run_all(ROOT, chosen, path, args.verbose)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
