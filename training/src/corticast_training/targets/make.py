"""Makes a folder of targets from a data set: clip by clip, in the order of its jsonl.

An interrupted run continues where it stopped: the unfinished file of a split is kept as
`<split>.safetensors.part` with the number of finished clips, and is continued if data set,
networks and sizes are the same.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from corticast_training import __version__
from corticast_training.config import Sizes
from corticast_training.data.layout import SPLITS
from corticast_training.data.movie import Clip, Movie
from corticast_training.data.tensor_file import map_tensors
from corticast_training.errors import TrainingError
from corticast_training.labels.classes import CLASSES, INDEX
from corticast_training.model_folder import date, sha256_of, versions
from corticast_training.progress import progress
from corticast_training.targets import bpe
from corticast_training.targets.pretrained import Pretrained
from corticast_training.targets.projection import fit_projection
from corticast_training.targets.store import FACTS, FORMAT, read_facts, split_specs
from corticast_training.targets.tensors import create, flush, reopen, write

SAVE_EVERY = 64
"""Clips between two notes of how far the work has come."""
SIZES = ("n_frame", "n_token", "channels", "text_dim", "latent", "mask", "caption_tokens")


@dataclass
class Made:
    """Counts of a run, for messages."""

    complete: bool = False
    """The folder was already there, made of the same."""
    resumed: dict[str, int] = field(default_factory=dict)
    """Clips of each split that an earlier run had done."""
    cut_captions: dict[str, list[str]] = field(default_factory=dict)
    """Clips of each split whose caption was longer than its row, and therefore cut."""
    cut_texts: dict[str, list[str]] = field(default_factory=dict)
    """Clips of each split whose caption was longer than CLIP's 77 tokens."""


def make_targets(
    movie: Movie, data_sha256: str, pretrained: Pretrained, sizes: Sizes, out: Path, *, fit: bool
) -> Made:
    """Writes the folder. `fit` fits the projection to the training clips, without a given one."""
    facts = _facts(movie, data_sha256, pretrained, sizes, fit)
    if (out / FACTS).exists():
        there, _ = read_facts(out)
        if there.get("fingerprint") == facts["fingerprint"]:
            return Made(complete=True)
        raise TrainingError(
            f"{out}: holds targets of another data set, other networks or other sizes, "
            "expected a new folder"
        )
    names = facts["names"]
    for split in SPLITS:
        _check_clips(movie, split, sizes)
    out.mkdir(parents=True, exist_ok=True)
    made = Made()
    for split in SPLITS:
        clips = movie.clips(split)
        made.cut_captions[split] = _longer_than(clips, sizes.caption_tokens)
        made.cut_texts[split] = _longer_than(clips, bpe.CONTEXT)
        done = _make_split(movie, split, pretrained, sizes, names, out, facts["fingerprint"])
        if done:
            made.resumed[split] = done
    write(out / "projection.safetensors", {"proj": _projection(out, pretrained, fit)})
    write(out / "names.safetensors", _names(names, pretrained))
    files = [*(f"{split}.safetensors" for split in SPLITS)]
    files += ["names.safetensors", "projection.safetensors"]
    facts["sha256"] = {name: sha256_of(out / name) for name in files}
    facts["provenance"] = {
        "tool": "corticast-train targets",
        "version": __version__,
        "date": date(),
        "libraries": versions(("numpy", "torch", "open-clip-torch", "diffusers")),
    }
    aside = out / f".{FACTS}"
    aside.write_text(tomli_w.dumps(facts), encoding="utf-8")
    aside.rename(out / FACTS)
    for split in SPLITS:
        _note(out, split).unlink(missing_ok=True)
    return made


def data_sha256(files: Sequence[Path]) -> str:
    """Hash over the contents of the files that exist, in order."""
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def _facts(
    movie: Movie, data: str, pretrained: Pretrained, sizes: Sizes, fit: bool
) -> dict[str, Any]:
    objects = {clip.key_object for split in SPLITS for clip in movie.clips(split)}
    others = sorted(name for name in objects if name is not None and name not in INDEX)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "data": {"name": movie.facts.name, "kind": movie.facts.kind, "sha256": data},
        "pretrained": pretrained.provenance,
        "projection": "fitted to the training clips" if fit else pretrained.projection_name,
        "sizes": {name: getattr(sizes, name) for name in SIZES},
        "n_train": len(movie.clips("train")),
        "n_test": len(movie.clips("test")),
        "names": [*CLASSES, *others],
    }
    text = json.dumps(facts, sort_keys=True)
    return facts | {"fingerprint": hashlib.sha256(text.encode()).hexdigest()}


def _check_clips(movie: Movie, split: str, sizes: Sizes) -> None:
    frames, clips = movie.frames(split), movie.clips(split)
    if frames.shape[1] != sizes.n_frame:
        raise TrainingError(
            f"{split} clips have {frames.shape[1]} frames, expected {sizes.n_frame} by the preset"
        )
    without = [clip.clip for clip in clips if not (clip.caption or "").strip()]
    if without:
        raise TrainingError(
            f"{len(without)} of {len(clips)} {split} clips have no caption ({_some(without)}), "
            "expected one each: `corticast-train labels describe` writes them"
        )
    for clip in clips:
        unknown = [name for name in clip.classes if name not in INDEX]
        if unknown:
            raise TrainingError(
                f"{clip.clip} has classes {unknown}, expected names of the list of 51"
            )
    masks = movie.key_masks(split)
    if masks is None and any(clip.key_object for clip in clips):
        raise TrainingError(
            f"{split} clips name key objects but there are no key masks, expected "
            f"{split}.key_masks.safetensors: `corticast-train labels key-object` writes it"
        )


def _make_split(
    movie: Movie,
    split: str,
    pretrained: Pretrained,
    sizes: Sizes,
    names: Sequence[str],
    out: Path,
    fingerprint: str,
) -> int:
    """Writes one split. Returns how many clips an earlier run had finished."""
    path = out / f"{split}.safetensors"
    part, note = out / f"{path.name}.part", _note(out, split)
    clips, frames, masks = movie.clips(split), movie.frames(split), movie.key_masks(split)
    noted = _noted(note, fingerprint)
    if path.exists() and noted == len(clips):
        return noted
    start = noted if part.exists() else 0
    if not start:
        # If this count outlived its file, the first clips of the next file would stay zero.
        note.unlink(missing_ok=True)
    tensors = reopen(part) if start else create(part, split_specs(len(clips), sizes))
    row_of = {name: row for row, name in enumerate(names)}
    for k in progress(range(start, len(clips)), len(clips) - start, f"targets of {split}"):
        clip = clips[k]
        values = _of_clip(clip, frames[k], pretrained, sizes)
        values["key_name"] = np.int64(row_of[clip.key_object] if clip.key_object else -1)
        if masks is not None and clip.key_object:
            values["masks"] = nearest(masks[k] > 0, sizes.mask).astype(np.uint8)
        else:
            values["masks"] = np.zeros(tensors["masks"].shape[1:], np.uint8)
        for name, value in values.items():
            tensors[name][k] = value
        if (k + 1) % SAVE_EVERY == 0:
            flush(tensors)
            _write_note(note, fingerprint, k + 1)
    flush(tensors)
    part.rename(path)
    _write_note(note, fingerprint, len(clips))
    return start


def _of_clip(
    clip: Clip, frames: NDArray[np.uint8], pretrained: Pretrained, sizes: Sizes
) -> dict[str, Any]:
    caption = clip.caption or ""
    labels = np.zeros(len(CLASSES), np.uint8)
    labels[[INDEX[name] for name in clip.classes]] = 1
    floats = {
        "image_tokens": pretrained.image_tokens(frames),
        "text_embed": pretrained.text_embed([caption])[0],
        "latents": pretrained.vae_encode(frames),
    }
    for name in ("image_tokens", "latents"):
        with np.errstate(over="ignore"):
            floats[name] = floats[name].astype(np.float16)
    for name, values in floats.items():
        if not np.isfinite(values).all():
            raise TrainingError(
                f"{name} of {clip.clip} hold NaN or numbers above 65504: are the weights of "
                "the pretrained networks damaged?"
            )
    ids = bpe.caption_ids(caption, sizes.caption_tokens)
    return {**floats, "caption_ids": ids, "labels": labels}


def nearest(images: NDArray[Any], edge: int) -> NDArray[Any]:
    """`[..., h, w]` to `[..., edge, edge]`: the pixel that holds each new pixel's centre."""
    rows = (2 * np.arange(edge) + 1) * images.shape[-2] // (2 * edge)
    columns = (2 * np.arange(edge) + 1) * images.shape[-1] // (2 * edge)
    return images[..., rows[:, None], columns]


def _projection(out: Path, pretrained: Pretrained, fit: bool) -> NDArray[np.float32]:
    if not fit:
        return pretrained.projection
    tensors = map_tensors(out / "train.safetensors")
    means = [row.astype(np.float32).mean((0, 1)) for row in tensors["image_tokens"]]
    return fit_projection(np.stack(means), tensors["text_embed"])


def _names(names: Sequence[str], pretrained: Pretrained) -> dict[str, NDArray[Any]]:
    states = pretrained.text_states(names)
    padded = np.zeros((len(names), max(map(len, states)), states[0].shape[1]), np.float32)
    for row, state in zip(padded, states, strict=True):
        row[: len(state)] = state
    length = np.array([len(state) for state in states], np.int64)
    return {"states": padded, "length": length, "pooled": pretrained.text_embed(names)}


def _note(out: Path, split: str) -> Path:
    """The file that counts the finished clips of a split, while the folder is being made."""
    return out / f".{split}.done"


def _noted(note: Path, fingerprint: str) -> int:
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0
    return int(noted["done"]) if noted.get("fingerprint") == fingerprint else 0


def _write_note(note: Path, fingerprint: str, done: int) -> None:
    aside = note.with_name(f".{note.name}")
    aside.write_text(json.dumps({"fingerprint": fingerprint, "done": done}), encoding="utf-8")
    aside.rename(note)


def _longer_than(clips: Sequence[Clip], n: int) -> list[str]:
    return [clip.clip for clip in clips if bpe.n_ids(clip.caption or "") > n]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
