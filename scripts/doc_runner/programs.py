"""Compares the commands that a document prints with the help of the programs."""

import functools
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from doc_runner.blocks import SHELL, blocks_of

# A program at the start of a command: at the start of a line, or after the end of another command.
_CALL = re.compile(
    r"(?:^|[;&|(]|\bdo\b)\s*(?:\w+=\S*\s+)*(?:\S*/)?"
    r"(?P<program>corticast(?:-adapter|-train)?|make)(?=\s|$)(?P<rest>[^;&|\n]*)",
    re.MULTILINE,
)


def calls_in(text: str) -> Iterator[list[str]]:
    """The calls of our programs and of make in shell commands, each as a list of words."""
    joined = re.sub(r"\\\n\s*", " ", text)
    # Only literal words are compared, so comments and redirections go.
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
    """The help texts of the programs, each read once."""

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
        """The first command, option or target of a call that the program does not have."""
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
    """Whether the next word is a value of an argument rather than a subcommand."""
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
            # In other languages only lines with a prompt are commands.
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
