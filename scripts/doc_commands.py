"""Runs the commands that README.md and docs/ print, so that what a reader types is what works.

    scripts/doc_commands.py check            every block is marked, every flag and target exists
    scripts/doc_commands.py run [FILE…]      the same, and runs the blocks; FILE as docs/clips.md

Each block in a language of commands or files has a mark, a comment on the line before its fence:

    run: NAME               run in a folder of its own; blocks of one NAME in a file share a shell
    run: NAME, in checkout  the same, starting in the checkout
    run: NAME, as FILE      the block is a file of that name; a .py file is run, with the words
                            that follow it
    … prints TEXT           what the block prints has to contain TEXT, a space for each line end
    … scan                  once the daemons of the block listen, a recorded scan is sent to them
    … stop                  then everything that waits for Ctrl-C gets it, and has to end well
    shown: REASON           not run; its commands are compared with the programs nevertheless

The docs give a command that serves until it is stopped (`SERVES`) a terminal of its own; here it
goes on in the background. `INSTEAD` lists all other changes, each with its reason. The programs are
those of target/release and .venv. Where the system allows it, each run has a network of its own, so
that the ports of the docs are free and nothing can be fetched; elsewhere the ports have to be free.
Exit codes: 0 fine, 1 something failed, 2 bad arguments.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "DESIGN.md")
SHELL = ("sh", "bash", "shell", "console")
MARKED = (*SHELL, "toml", "python", "json")
PORTS = (5560, 5561, 5562, 5563, 5564, 9464)
LIMIT_S = 1800
PARALLEL = 3

SERVES = re.compile(r"(corticast (run|generate) |python \S*client\.py|.*python clips\.py )")
"""Commands that the docs stop with Ctrl-C."""

INSTEAD: dict[str, list[tuple[str, str, str]]] = {
    "README.md": [],
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
"""By document: what is printed, what is run, and why they differ."""

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
"""What a run needs to be there when it begins: a reader has it, or its page says where from."""

PRELUDE = r"""
set -Eeo pipefail
set -m
served=()
say() { printf '\n== %s\n' "$*"; }
trap 'code=$?; printf "\nfailed with %s: %s\n" "$code" "$BASH_COMMAND"; exit $code' ERR
trap 'for job in $(jobs -p); do kill -KILL -- -$job 2>/dev/null || true; done' EXIT
# Built and installed before this runs: that the targets exist is what can be checked.
make() { command make -C "$CHECKOUT" -n "$@" > /dev/null; }
listening() {
    for _ in $(seq 300); do
        # Every socket is bound once this is answered with 200.
        if (
            exec 3<>/dev/tcp/127.0.0.1/9464
            printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
            head -n 1 <&3 | grep -q 200
        ) 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "no daemon listens on the ports of the docs"; return 1
}
scan() {
    corticast-adapter nifti "$CHECKOUT"/models/demo/session/*_bold.nii.gz --speed 40
    sleep 1
}
stop() {
    local job code
    for job in "${served[@]}"; do
        if ! kill -0 "$job" 2>/dev/null; then
            code=0; wait "$job" || code=$?
            echo "a command that should wait for Ctrl-C ended with $code"; return 1
        fi
    done
    for job in "${served[@]}"; do
        kill -INT -- "-$job"
        code=0; wait "$job" || code=$?
        # 130 and -INT: Python programs of a few lines do not catch Ctrl-C.
        case $code in 0 | 1 | 130) ;; *) echo "Ctrl-C: ended with $code"; return 1 ;; esac
    done
    served=()
}
"""


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a document. `line` is that of its fence."""

    document: str
    line: int
    language: str
    mark: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def run(self) -> str | None:
        """Name of the run that it belongs to."""
        if self.mark is None or not self.mark.startswith("run:"):
            return None
        return self.mark.removeprefix("run:").split(",")[0].strip()

    @property
    def options(self) -> list[str]:
        """What follows the name."""
        return [part.strip() for part in (self.mark or "").split(",")[1:]]

    def option(self, word: str) -> str | None:
        """What follows a word of the options; empty if nothing does."""
        for option in self.options:
            if option == word or option.startswith(f"{word} "):
                return option.removeprefix(word).strip()
        return None


OPTIONS = ("in", "as", "prints", "scan", "stop")


def documents(root: Path) -> list[str]:
    """Documents that print commands, relative to the root."""
    return [*DOCUMENTS, *sorted(f"docs/{path.name}" for path in (root / "docs").glob("*.md"))]


def blocks_of(document: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    lines = text.splitlines()
    start, fence = None, ""
    for number, line in enumerate(lines):
        if start is None:
            if opened := re.match(r"\s*(`{3,}|~{3,})\s*(\w*)", line):
                start, fence = number, opened[1]
        elif line.strip() == fence:
            before = lines[start - 1].strip() if start else ""
            mark = re.fullmatch(r"<!-- ((?:run|shown): .+?) -->", before)
            language = lines[start].strip().lstrip("`~").strip()
            body = "\n".join(lines[start + 1 : number]) + "\n"
            yield Block(document, start + 1, language, mark[1] if mark else None, body)
            start = None


def faults_of_marks(blocks: Iterable[Block]) -> Iterator[str]:
    """Blocks without a mark, and marks that mean nothing."""
    for block in blocks:
        if block.mark is None:
            if block.language in MARKED:
                yield (
                    f"{block}: a block of {block.language} without a mark, expected a line "
                    "`<!-- run: NAME -->` or `<!-- shown: REASON -->` before it"
                )
        elif block.run is not None:
            for option in block.options:
                if option.split(" ")[0] not in OPTIONS:
                    yield f"{block}: the mark says {option!r}, expected {', '.join(OPTIONS)}"
            if block.language not in SHELL and block.option("as") is None:
                yield f"{block}: a block of {block.language} is run `as FILE`"
        if block.language == "toml":
            try:
                tomllib.loads(block.text)
            except tomllib.TOMLDecodeError as error:
                yield f"{block}: not TOML: {error}"


# A program at the beginning of a command: of a line, or after something that ends a command.
_CALL = re.compile(
    r"(?:^|[;&|(]|\bdo\b)\s*(?:\w+=\S*\s+)*(?:\S*/)?"
    r"(?P<program>corticast(?:-adapter|-train)?|make)(?=\s|$)(?P<rest>[^;&|\n]*)",
    re.MULTILINE,
)


def calls_in(text: str) -> Iterator[list[str]]:
    """The calls of our programs and of make in shell commands, as words."""
    joined = re.sub(r"\\\n\s*", " ", text)
    # Comments, and what is substituted: only literal words are compared.
    joined = re.sub(r"(^|\s)#.*", r"\1", joined)
    for found in _CALL.finditer(joined):
        rest = re.sub(r"\d?[<>].*", "", found["rest"]).replace("`", "")
        try:
            words = shlex.split(rest)
        except ValueError:
            words = rest.split()
        yield [found["program"], *words]


def inline_calls(text: str) -> Iterator[list[str]]:
    """The calls in code spans of a document, outside of its blocks."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"(?<!`)`((?:corticast|make)[^`]*)`(?!`)", outside):
        yield from calls_in(span.replace("\n", " "))


class Programs:
    """What the programs say about themselves, asked once."""

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        self.path = path

    @functools.cache  # noqa: B019  one instance lives as long as the process
    def help_of(self, *command: str) -> str | None:
        """`COMMAND --help`; None if there is no such command."""
        done = subprocess.run(
            [*command, "--help"],
            env={**os.environ, "PATH": self.path, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout if done.returncode == 0 else None

    def fault(self, words: Sequence[str]) -> str | None:
        """What a call has that the program does not know. A word in capitals is a placeholder."""
        if words[0] == "make":
            return self._fault_of_make(words[1:])
        command, rest = [words[0]], list(words[1:])
        text = self.help_of(*command)
        if text is None:
            return f"`{words[0]} --help` does not work: is it built?"
        while rest and _is_word(rest[0]) and (offered := _offered(text)):
            choice = rest.pop(0)
            if choice not in offered:
                return f"`{' '.join(command)}` has no command `{choice}`"
            deeper = self.help_of(*command, choice)
            if deeper is None or _is_choice(text):
                break
            command.append(choice)
            text = deeper
        known = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))
        for word in rest:
            flag = word.partition("=")[0]
            if re.fullmatch(r"--?[A-Za-z][\w-]*", flag) and flag not in known:
                return f"`{' '.join(command)}` has no option `{flag}`"
        return None

    def _fault_of_make(self, words: Sequence[str]) -> str | None:
        given = [word for word in words if not word.startswith(("[", "…")) and "]" not in word]
        done = subprocess.run(
            ["make", "-n", *given],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name[:4] != "MAKE"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return None
        return f"`make {' '.join(given)}`: {done.stderr.strip().splitlines()[-1]}"


def _is_word(word: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9-]*", word) is not None


def _is_choice(text: str) -> bool:
    """Whether what follows is one of the values of an argument, not a command with help."""
    return "Possible values:" in text.partition("Options:")[0]


def _offered(text: str) -> set[str]:
    """The commands, or values of the first argument, that a help text lists."""
    if section := re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE):
        return set(re.findall(r"^  ([a-z][\w-]*)", section[1], re.MULTILINE))
    if section := re.search(r"^positional arguments:\n  [A-Z]+\n((?:    .*\n)+)", text, re.M):
        return set(re.findall(r"^    ([a-z][\w-]*)", section[1], re.MULTILINE))
    if _is_choice(text):
        return set(re.findall(r"^ +- ([a-z][\w-]*):", text.partition("Options:")[0], re.MULTILINE))
    return set()


def faults_of_commands(document: str, text: str, programs: Programs) -> Iterator[str]:
    """Commands, options and targets that a document prints and no program has."""
    for block in blocks_of(document, text):
        printed = block.text
        if block.language not in SHELL:
            # Of what is no shell, lines that show a prompt.
            printed = "\n".join(re.findall(r"^\$ (.*)$", block.text, re.MULTILINE))
        for words in calls_in(printed):
            if fault := programs.fault(words):
                yield f"{block}: {fault}"
        for path in re.findall(r"(?<![\w/.~-])((?:configs|scripts|docs|models)/[\w./-]+)", printed):
            if not (programs.root / path).exists():
                yield f"{block}: {path} is not in the repository"
    for words in inline_calls(text):
        if fault := programs.fault(words):
            yield f"{document}, in the text: {fault}"


def script_of(document: str, blocks: Sequence[Block]) -> str:
    """The shell commands of one run of a document."""
    name = blocks[0].run or ""
    lines = [PRELUDE]
    if before := BEFORE.get((document, name)):
        lines += ["say what is there when it begins", before]
    for block in blocks:
        lines.append(f"say {shlex.quote(str(block))}")
        lines.append(f'cd "{"$CHECKOUT" if block.option("in") is not None else "$PWD"}"')
        lines += _commands(block)
    lines.append("stop")
    return "\n".join(lines) + "\n"


def _commands(block: Block) -> Iterator[str]:
    text = block.text
    for printed, run, _ in INSTEAD.get(block.document, []):
        text = text.replace(printed, run)
    prints = block.option("prints")
    if (given := block.option("as")) is not None:
        file, _, arguments = given.partition(" ")
        yield f"cat > {file} <<'END OF {block.line}'\n{text}END OF {block.line}"
        text = f"python {file} {arguments}\n" if file.endswith(".py") else ""
    if prints is not None:
        yield f"{{\n{text}}} > printed.{block.line}; cat printed.{block.line}"
        yield f"tr '\\n' ' ' < printed.{block.line} | grep -qF -e {shlex.quote(prints)}"
        return
    commands, serves = _apart(text), False
    for position, command in enumerate(commands):
        if SERVES.match(command) and not command.rstrip().endswith("&"):
            yield f"{{ {command.split('#')[0].rstrip()}; }} & served+=($!)"
            yield "listening" if "corticast run" in command else "sleep 2"
            serves = True
            last = not any(SERVES.match(later) for later in commands[position + 1 :])
            if last and block.option("scan") is not None:
                yield "scan"
                if position + 1 < len(commands):
                    yield "stop"
        else:
            yield command
    if serves is False and block.option("scan") is not None:
        yield "scan"
    if block.option("stop") is not None:
        yield "stop"


def _apart(text: str) -> list[str]:
    """Commands of a block where one serves; else the block as it is."""
    joined = re.sub(r"\\\n\s*", " ", text)
    if not re.search(SERVES.pattern, joined, re.MULTILINE):
        return [text]
    if "<<" in joined:  # the document behind it is no command
        head, _, tail = joined.rpartition("END\n")
        return [f"{head}END\n", *tail.splitlines()]
    return [line for line in joined.splitlines() if line.strip()]


def checkout(root: Path, folder: Path) -> Path:
    """A folder that looks like the checkout, so that what runs in it leaves nothing there."""
    made = folder / "corticast"
    made.mkdir()
    for path in root.iterdir():
        if path.name not in (".git", "demo-out"):
            (made / path.name).symlink_to(path)
    return made


def run_all(root: Path, chosen: Sequence[str], programs: Programs, verbose: bool) -> list[str]:
    """Runs the marked blocks. Returns what failed."""
    isolated = subprocess.run(
        ["unshare", "--map-root-user", "--net", "true"], capture_output=True, check=False
    )
    alone = isolated.returncode == 0
    if not alone and (taken := [port for port in PORTS if _taken(port)]):
        return [f"port {taken[0]} is taken, and the docs use it: end what listens there"]
    runs: dict[tuple[str, str], list[Block]] = {}
    for document in chosen:
        for block in blocks_of(document, (root / document).read_text(encoding="utf-8")):
            if block.run is not None:
                runs.setdefault((document, block.run), []).append(block)
    faults: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(PARALLEL if alone else 1) as pool:
        # Those that take longest first.
        order = sorted(runs, key=lambda key: -len(runs[key]))
        jobs = {
            pool.submit(_run, root, key[0], runs[key], programs.path, alone): key for key in order
        }
        for job in concurrent.futures.as_completed(jobs):
            document, name = jobs[job]
            code, said, took_s = job.result()
            print(
                f"{document}: {name}: {'ok' if code == 0 else 'FAILED'}, {took_s:.0f} s", flush=True
            )
            if code != 0 or verbose:
                print(said, flush=True)
            if code != 0:
                faults.append(f"{document}: the run `{name}` failed, see above")
    return faults


def _run(
    root: Path, document: str, blocks: Sequence[Block], path: str, alone: bool
) -> tuple[int, str, float]:
    """Exit code, output and seconds of one run."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="doc-commands-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "work").mkdir()
        # What is set for the tests would hide that a reader needs it.
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("CORTICAST", "MAKE"))
        }
        environment |= {
            "HOME": str(home),
            "PATH": path,
            "CHECKOUT": str(checkout(root, home)),
            "OMP_NUM_THREADS": "1",
        }
        command = ["bash", "-c", script_of(document, blocks)]
        if alone:
            up = f"import runpy; runpy.run_path({__file__!r})['bring_up_loopback']()"
            script = f'{shlex.quote(sys.executable)} -c {shlex.quote(up)}; exec "$@"'
            isolate = ["unshare", "--map-root-user", "--net", "bash", "-c", script, "bash"]
            command = [*isolate, *command]
        with (home / "output").open("w+b") as output:
            job = subprocess.Popen(
                command,
                cwd=home / "work",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _SESSIONS.add(job.pid)
            try:
                code = job.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                code = 124
                output.write(f"\nnot done after {LIMIT_S} s\n".encode())
            finally:
                end_session(job.pid)
                _SESSIONS.discard(job.pid)
            job.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
    return code, said, time.monotonic() - began


_SESSIONS: set[int] = set()
"""Of the runs that go on."""


def end_all(number: int, _: object) -> None:
    """On Ctrl-C and SIGTERM, which reach this process only."""
    for session in set(_SESSIONS):
        end_session(session)
    os._exit(128 + number)


def end_session(session: int) -> None:
    """Ends whatever a run has started and left."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which is in brackets: state, parent, group, session.
            if int(status.read_text().rpartition(")")[2].split()[3]) == session:
                os.kill(int(status.parent.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue  # it has ended meanwhile


def bring_up_loopback() -> None:
    """A new network has a loopback interface that is down."""
    import fcntl
    import struct

    set_flags, up, running = 0x8914, 0x1, 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up | running))


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, and runs what is asked for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("check", "run"))
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: all documents")
    parser.add_argument("--verbose", action="store_true", help="print what the blocks printed")
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
        faults += _stale(document, text)
    if not faults and args.what == "run":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end_all)
        faults = run_all(ROOT, chosen, programs, args.verbose)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _stale(document: str, text: str) -> Iterator[str]:
    """Substitutions of text that is no longer there."""
    for printed, _, _ in INSTEAD.get(document, []):
        if printed not in text:
            yield f"{document}: INSTEAD replaces {printed!r}, which it does not print"


if __name__ == "__main__":
    sys.exit(main())
