"""The blocks of a document, and their marks."""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Iterator

SHELL = ("sh", "bash", "shell", "console")
MARKED = (*SHELL, "toml", "python", "json")
"""Languages whose blocks must have a mark."""
OPTIONS = ("in", "as", "prints", "scan", "stop")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a document. `line` is the line of its fence."""

    document: str
    line: int
    language: str
    mark: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def run(self) -> str | None:
        """Name of the run of this block; `None` if it is not run."""
        if self.mark is None or not self.mark.startswith("run:"):
            return None
        return self.mark.removeprefix("run:").split(",")[0].strip()

    @property
    def options(self) -> list[str]:
        """The options after the name of the run."""
        return [part.strip() for part in (self.mark or "").split(",")[1:]]

    def option(self, word: str) -> str | None:
        """The value of an option, which may be empty; `None` without the option."""
        for option in self.options:
            if option == word or option.startswith(f"{word} "):
                return option.removeprefix(word).strip()
        return None


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
    """Blocks without a mark, invalid marks, and TOML blocks that are not TOML."""
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
