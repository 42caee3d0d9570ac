"""The shell script of one run of a document."""

import re
import shlex
from collections.abc import Iterator, Sequence

from doc_runner.blocks import Block
from doc_runner.changes import BEFORE, INSTEAD

SERVES = re.compile(
    r"(corticast (run|generate) |python \S*(client|display)\.py|.*python clips\.py )"
)
"""Commands that the docs stop with Ctrl-C."""

PRELUDE = r"""
set -Eeo pipefail
set -m
served=()
say() { printf '\n== %s\n' "$*"; }
trap 'code=$?; printf "\nfailed with %s: %s\n" "$code" "$BASH_COMMAND"; exit $code' ERR
trap 'for job in $(jobs -p); do kill -KILL -- -$job 2>/dev/null || true; done' EXIT
# Everything is built already, so only the existence of the target is checked.
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
        # 130: short Python programs do not catch Ctrl-C.
        case $code in 0 | 130) ;; *) echo "Ctrl-C: ended with $code"; return 1 ;; esac
    done
    served=()
}
"""


def script_of(document: str, blocks: Sequence[Block]) -> str:
    """The shell commands of one run of a document."""
    name = blocks[0].run or ""
    lines = [PRELUDE]
    if before := BEFORE.get((document, name)):
        lines += ["say preparation", before]
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
    """The commands of a block one by one if one of them serves, else the block as it is."""
    joined = re.sub(r"\\\n\s*", " ", text)
    if not re.search(SERVES.pattern, joined, re.MULTILINE):
        return [text]
    if "<<" in joined:  # the here-document stays whole
        head, _, tail = joined.rpartition("END\n")
        return [f"{head}END\n", *tail.splitlines()]
    return [line for line in joined.splitlines() if line.strip()]
