"""`corticast-train linear`: prepared runs in, a linear decoder and its manifest out."""

import argparse
import re
from typing import Any

from corticast_training import __version__
from corticast_training.data.prepared import PreparedData, read_prepared
from corticast_training.errors import TrainingError
from corticast_training.evaluate.decoding import Accuracy, accuracy, table, warnings_of
from corticast_training.export.linear import (
    INPUT,
    OUTPUT,
    check_in_runtime,
    linear_metadata,
    linear_onnx,
)
from corticast_training.labels.blocks import Chosen
from corticast_training.labels.dataset import LabelledWindows, folds_of, label_windows
from corticast_training.model.linear import Fit, fit_linear
from corticast_training.model_folder import (
    FORMAT,
    date,
    refuse_existing,
    sha256,
    versions,
    write_model,
)

NETWORK = "decoder.onnx"
STATISTICS = "normalise.safetensors"
# What the daemon reads beside `mode` and `warm_up_volumes`; it refuses what does not apply.
NORMALISE_KEYS = {"baseline": ("baseline_volumes",), "frozen": ("frozen_mean",)}
# `discard_volumes` and `missing` are choices of the session, not of the model.
SIGNAL_KEYS = ("repetition_time_s", "hrf_delay_s", "shift", "window_volumes")


def run(args: argparse.Namespace) -> None:
    """Trains, reports and writes. Raises `TrainingError` with what is to be put right."""
    refuse_existing(args.out, args.force)
    data = read_prepared(args.data)
    delay_s = data.signal["hrf_delay_s"]
    if args.delay_s is not None and abs(args.delay_s - delay_s) > 1e-9:
        raise TrainingError(
            f"{args.data} was prepared with an HRF delay of {delay_s} s, expected {args.delay_s} s"
        )
    if args.duration_s is not None and not 0 < args.duration_s < float("inf"):
        raise TrainingError(f"--duration-s is {args.duration_s}, expected more than 0 s")
    chosen = Chosen(args.target, _classes(args.classes), args.duration_s)
    labelled = label_windows(data, chosen, with_rest=args.evidence)
    folds = folds_of(labelled)
    fit = fit_linear(labelled, folds, args.method)
    shown = labelled.shown
    label = labelled.label[shown]
    held_out = fit.held_out[shown][:, : len(labelled.answers)]
    found = accuracy(held_out, label, labelled.block[shown])

    print(f"cross-validated by {folds.by}, {len(folds.held_out)} folds:")
    print(table(found, labelled.answers, label))
    for name in labelled.without_windows:
        print(f"warning: no window is inside an event of {name!r}: it is not a class of the model")
    for warning in warnings_of(found, labelled.answers):
        print(f"warning: {warning}")
    print(_chosen(fit))
    if folds.optimistic:
        print(
            "warning: one run with one block a class; each block is in training and test, "
            "so these figures are too good"
        )

    shape = data.window_shape
    network = linear_onnx(fit.decoder, shape, linear_metadata(data.mask["hash"], labelled.classes))
    check_in_runtime(network, fit.decoder, shape)
    files = {NETWORK: network}
    if data.statistics is not None:
        files[STATISTICS] = data.statistics.read_bytes()
    manifest = {
        "format": FORMAT,
        "family": "linear",
        "name": args.name or args.out.resolve().name,
        "subject": args.subject or _subject(data),
        "mask": {key: data.mask[key] for key in ("hash", "n_voxel", "matrix", "affine")},
        "signal": {key: data.signal[key] for key in SIGNAL_KEYS},
        "normalise": _normalise(data, files),
        **_evidence(labelled),
        **({"stages": data.stages} if data.stages else {}),
        "network": [
            {
                "role": "decoder",
                "file": NETWORK,
                "sha256": sha256(network),
                "inputs": [{"name": INPUT, "shape": [1, *shape]}],
                "outputs": [{"name": OUTPUT, "shape": [1, len(labelled.classes)]}],
                "classes": labelled.classes,
            }
        ],
        "provenance": _provenance(data, labelled, fit, found),
    }
    write_model(args.out, manifest, files, force=args.force)
    print(f"wrote {args.out} (checked in ONNX Runtime)")


def _classes(text: str | None) -> frozenset[str] | None:
    """The classes of `--classes A,B`."""
    if text is None:
        return None
    classes = frozenset(name.strip() for name in text.split(",") if name.strip())
    if len(classes) < 2:
        raise TrainingError(f"--classes is {text!r}, expected two names or more: A,B")
    return classes


def _chosen(fit: Fit) -> str:
    name = {"ridge": "alpha", "logistic": "C", "lda": "shrinkage"}[fit.method]
    text = f"regularisation: {name} = {fit.regularisation:.6g}"
    if fit.method != "logistic":
        text += f", temperature = {fit.temperature:.3g}"
    if fit.at_edge:
        text += "\nwarning: this is the edge of what was tried, the best may lie beyond"
    return text


def _subject(data: PreparedData) -> str:
    found = {match[1] for run in data.runs if (match := re.search(r"sub-([0-9A-Za-z]+)", run.run))}
    if len(found) != 1:
        names = ", ".join(run.run for run in data.runs)
        raise TrainingError(
            f"found {len(found)} subjects in the names of the runs ({names}), expected one: "
            "name it with --subject"
        )
    return found.pop()


def _evidence(labelled: LabelledWindows) -> dict[str, Any]:
    """The section that says how the daemon adds up evidence, if it does."""
    evidence = labelled.evidence
    if evidence is None:
        return {}
    rest = labelled.classes[evidence.rest]
    return {
        "evidence": {"rest": rest, "block_s": evidence.block_s, "rest_s": evidence.rest_s},
    }


def _normalise(data: PreparedData, files: dict[str, bytes]) -> dict[str, Any]:
    mode = data.normalise["mode"]
    keys = ["mode", "warm_up_volumes", "across_voxels", *NORMALISE_KEYS.get(mode, ())]
    section = {key: data.normalise[key] for key in keys if key in data.normalise}
    if mode == "frozen":
        if STATISTICS not in files:
            raise TrainingError("[normalise] is frozen without `statistics`, expected their file")
        section |= {"statistics": STATISTICS, "statistics_sha256": sha256(files[STATISTICS])}
    return section


def _provenance(
    data: PreparedData, labelled: LabelledWindows, fit: Fit, found: Accuracy
) -> dict[str, Any]:
    section = {
        "tool": "corticast-train linear",
        "version": __version__,
        "date": date(),
        "method": fit.method,
        "regularisation": fit.regularisation,
        "n_windows": len(labelled.label),
        "runs": [run.run for run in data.runs],
        "data_sha256": data.sha256,
        "cv_per_tr": round(found.per_tr, 4),
        "cv_per_block": round(found.per_block, 4),
        "cv_balanced": round(found.balanced, 4),
        "chance_per_tr": round(found.chance_per_tr, 4),
        "chance_per_block": round(found.chance_per_block, 4),
        "libraries": versions(("numpy", "scikit-learn", "onnx")),
    }
    if fit.method != "logistic" or labelled.evidence is not None:
        section["temperature"] = fit.temperature
    return section
