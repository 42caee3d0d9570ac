"""`labels describe`: a caption and tags for each clip, one line per answer.

Thousands of clips take hours, so each answer is written to disk at once, and an interrupted run
continues after the last complete line. All answers of a data set come from one model and one
version of the prompts; other answers are an error, or are replaced on request.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corticast_training.data.movie import Clip, Movie
from corticast_training.data.typed import Fields
from corticast_training.errors import TrainingError
from corticast_training.labels.answer import Answer, check_answer
from corticast_training.labels.clips import each_clip
from corticast_training.labels.config import LabelsConfig
from corticast_training.labels.endpoint import BadAnswerError
from corticast_training.labels.folder import answers_file, replace_clips, write_whole
from corticast_training.labels.vision_language import VisionLanguageModel
from corticast_training.targets.bpe import CONTEXT, n_ids


@dataclass
class Described:
    """Counts of a split, for messages."""

    asked: int = 0
    there: int = 0
    """Answers of an earlier run."""
    own: int = 0
    """Clips that had a caption before anybody asked."""
    failed: dict[str, str] = field(default_factory=dict)
    """Clips without a usable answer, and why."""
    long: list[str] = field(default_factory=list)
    """Clips whose caption is longer than CLIP's 77 tokens."""


def describe(
    movie: Movie,
    split: str,
    vlm: VisionLanguageModel,
    model: str,
    config: LabelsConfig,
    *,
    replace: bool,
    parallel: int,
) -> Described:
    """Asks about the clips that have no answer yet, then copies all answers into the clips.

    `replace`: asks again for captions that came with the data set, and for answers of other models
    or prompts. Raises `TrainingError` if the endpoint is down or refuses.
    """
    path, clips = answers_file(movie, split), movie.clips(split)
    source = {"model": model, "prompts": config.prompts}
    answers = _resume(path, clips, source, config, replace=replace)
    wanted = [
        number
        for number, clip in enumerate(clips)
        if clip.clip not in answers and (replace or not (clip.caption or "").strip())
    ]
    done = Described(
        asked=len(wanted), there=len(answers), own=len(clips) - len(wanted) - len(answers)
    )
    frames = movie.frames(split)
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("a", encoding="utf-8") as file:

            def keep(number: int, answer: Answer) -> None:
                file.write(_line(clips[number].clip, answer, source))
                file.flush()
                answers[clips[number].clip] = answer

            failed = each_clip(
                wanted,
                len(wanted),
                lambda number: vlm.describe(frames[number]),
                keep,
                what=f"{split} clips",
                parallel=parallel,
            )
    finally:
        # Also if the endpoint is down: the answers so far are useful.
        if answers:
            replace_clips(movie, split, [_labelled(clip, answers) for clip in clips])
    done.failed = {clips[number].clip: reason for number, reason in sorted(failed.items())}
    done.long = [name for name, answer in answers.items() if n_ids(answer.caption) > CONTEXT]
    return done


def read_answers(
    path: Path, config: LabelsConfig
) -> tuple[dict[str, Answer], dict[str, dict[str, str]]]:
    """Answers by clip, and model and prompts of each. Raises `TrainingError` on a bad line.

    A last line without an end was interrupted during writing; it is left out.
    """
    answers: dict[str, Answer] = {}
    sources: dict[str, dict[str, str]] = {}
    if not path.is_file():
        return answers, sources
    for number, line in enumerate(_whole_lines(path), start=1):
        where = f"{path}, line {number}"
        try:
            table = json.loads(line)
            fields = Fields(table, where)
            clip = fields.text("clip")
            answers[clip] = check_answer(table, config.class_of, len(table.get("tags") or ()))
        except (ValueError, BadAnswerError) as error:
            raise TrainingError(f"{where}: {error}, expected an answer of `describe`") from error
        sources[clip] = {key: fields.text(key) for key in ("model", "prompts")}
    return answers, sources


def _whole_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        text = path.read_bytes()
        # The interruption may have split a character of two bytes.
        return text[: text.rfind(b"\n") + 1].decode("utf-8", errors="replace").split("\n")[:-1]


def _resume(
    path: Path,
    clips: list[Clip],
    source: Mapping[str, str],
    config: LabelsConfig,
    *,
    replace: bool,
) -> dict[str, Answer]:
    """Answers to keep. Rewrites the file with these answers in complete lines."""
    if not path.exists():
        return {}
    answers, sources = read_answers(path, config)
    names = {clip.clip for clip in clips}
    if unknown := [name for name in answers if name not in names]:
        raise TrainingError(f"{path}: clip {unknown[0]!r} is not among the data set's")
    other = {name for name in answers if sources[name] != source}
    if other and not replace:
        first = sources[min(other)]
        raise TrainingError(
            f"{path}: {len(other)} answers are of model {first['model']!r} and prompts "
            f"{first['prompts']}, expected {source['model']!r} and {source['prompts']}; "
            "--replace asks for them anew"
        )
    kept = {name: answer for name, answer in answers.items() if name not in other}
    write_whole(path, "".join(_line(name, answer, source) for name, answer in kept.items()))
    return kept


def _line(clip: str, answer: Answer, source: Mapping[str, str]) -> str:
    tags = [{"tag": tag, "class": class_} for tag, class_ in answer.tags.items()]
    line: dict[str, Any] = {"clip": clip, "caption": answer.caption, "tags": tags, **source}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _labelled(clip: Clip, answers: Mapping[str, Answer]) -> Clip:
    answer = answers.get(clip.clip)
    if answer is None:
        return clip
    tags = tuple(answer.tags)
    # The key object was chosen among other tags, so the choice no longer holds.
    kept = clip if clip.tags == tags else dataclasses.replace(clip, key_object=None, key_class=None)
    return dataclasses.replace(kept, caption=answer.caption, tags=tags, classes=answer.classes)
