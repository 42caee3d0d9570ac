"""`corticast-train project`: today's reference in, the matrix to the model's features out."""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from corticast_training import __version__
from corticast_training.errors import TrainingError
from corticast_training.model_folder import MANIFEST, sha256_of
from corticast_training.project.cifti import is_cifti, read_cifti, read_dlabel
from corticast_training.project.coverage import coverage, refuse_uncovered, table
from corticast_training.project.features import Features, read_labels, read_mask
from corticast_training.project.mask_file import write_mask
from corticast_training.project.rows import build
from corticast_training.project.space import Space, read_space
from corticast_training.project.surfaces import Surface, all_vertices, read_surfaces
from corticast_training.project.transforms import read_steps

AFFINE_TOLERANCE_MM = 1e-2
"""As the daemon compares a mask with a scan."""


def run(args: argparse.Namespace) -> None:
    """Reads, reports and writes. Raises `TrainingError` with what is to be put right."""
    _check(args)
    space = read_space(args.reference)
    surfaces = read_surfaces(args.surface, args.pial)
    features = _features(args, surfaces)
    model = _model_mask(args.model, features, args.mask) if args.model else {}
    steps = read_steps(args.transforms)
    rows = build(features, steps, space)
    found = coverage(features, rows)
    report = {
        "kind": features.kind,
        "features": [_named(path) for path in _sources(args)],
        "reference": _named(args.reference) | _of_space(space),
        "transforms": [{"kind": step.kind, **_named(step.file)} for step in steps],
        "coverage": found,
        **model,
    }
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        _say(report, surfaces)
    refuse_uncovered(found, args.min_coverage)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "1", "tool": f"corticast-train project {__version__}", **report}
    write_mask(args.out, rows, space, metadata)
    beside = args.out.with_suffix(".json")
    beside.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if not args.json:
        print(f"wrote {args.out}, and {beside.name} beside it")


def _check(args: argparse.Namespace) -> None:
    if args.out.suffix != ".safetensors":
        raise TrainingError(f"{args.out}: expected a name that ends in .safetensors")
    if not 0 <= args.min_coverage <= 1:
        raise TrainingError(f"--min-coverage is {args.min_coverage}, expected a share from 0 to 1")
    if not (args.mask or args.parcels or args.cifti or args.surface):
        raise TrainingError(
            "no features: expected --mask, --parcels, --cifti or --surface to say what the model's "
            "features are"
        )
    if args.pial and not args.surface:
        raise TrainingError("--pial without --surface, expected the white surfaces too")
    image = args.mask or (args.parcels if args.parcels and not is_cifti(args.parcels) else None)
    if image and args.surface:
        raise TrainingError(f"--surface beside {image}, which has no vertices: leave it out")
    if args.cifti and not is_cifti(args.cifti):
        raise TrainingError(f"{args.cifti}: expected a CIFTI file, such as .dscalar.nii")
    if args.mask and is_cifti(args.mask):
        raise TrainingError(f"{args.mask}: is a CIFTI file, expected an image; --cifti takes it")


def _features(args: argparse.Namespace, surfaces: list[Surface]) -> Features:
    if args.mask:
        return read_mask(args.mask)
    if args.cifti:
        return read_cifti(args.cifti, surfaces)
    if args.parcels and is_cifti(args.parcels):
        return read_dlabel(args.parcels, surfaces)
    if args.parcels:
        return read_labels(args.parcels)
    return all_vertices(surfaces)


def _sources(args: argparse.Namespace) -> list[Path]:
    own = [path for path in (args.mask, args.parcels, args.cifti) if path]
    return [*own, *args.surface, *args.pial]


def _named(path: Path) -> dict[str, str]:
    """A file without its folder, which may name a person."""
    return {"file": path.name, "sha256": sha256_of(path)}


def _of_space(space: Space) -> dict[str, Any]:
    return {"matrix": list(space.matrix), "affine": space.affine.tolist()}


def _model_mask(folder: Path, features: Features, mask: Path | None) -> dict[str, str]:
    """The hash of the model's mask, if the features can be those of the model."""
    path = folder / MANIFEST
    if not path.is_file():
        raise TrainingError(f"{path}: missing, expected the folder of a model")
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))["mask"]
        n_voxel, hash_ = int(facts["n_voxel"]), str(facts["hash"])
        matrix, affine = list(facts["matrix"]), np.array(facts["affine"], np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: cannot read [mask]: {error!r}") from error
    if features.n != n_voxel:
        raise TrainingError(
            f"{features.n} features, expected the {n_voxel} of the mask that {folder} was trained "
            "on"
        )
    if mask:
        space = read_space(mask)
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in space.matrix])).reshape(3, -1).T
        if list(space.matrix) != matrix:
            raise TrainingError(
                f"{mask}: matrix is {list(space.matrix)}, expected that of {folder}, {matrix}"
            )
        expected = Space(space.matrix, affine).millimetres(corners)
        distance = np.linalg.norm(space.millimetres(corners) - expected, axis=1).max()
        if not distance <= AFFINE_TOLERANCE_MM:
            raise TrainingError(
                f"{mask}: a corner lies {distance:.3g} mm from that of the mask of {folder}, "
                f"expected at most {AFFINE_TOLERANCE_MM} mm: is it the mask of this model?"
            )
    return {"model_mask_hash": hash_}


def _say(report: dict[str, Any], surfaces: list[Surface]) -> None:
    found = report["coverage"]
    print(table(found, report["kind"]))
    lowest = found["lowest_partial_support"]
    if lowest is not None:
        print(f"lowest partial support: {100 * lowest:.1f} %; its weights were scaled up")
    print(f"{found['n_entry']} entries, {found['n_voxel_used']} voxels of today's scan")
    for surface in surfaces:
        if surface.shift_mm.any():
            shift = ", ".join(f"{value:.3f}" for value in surface.shift_mm)
            print(
                f"warning: {surface.path} names a centre of {shift} mm (VolGeomC). FreeSurfer's "
                "own coordinates lack it: if these are such, `mris_convert --to-scanner` adds it"
            )
