"""Options of `corticast-train project`."""

import argparse
from collections.abc import Callable
from pathlib import Path

EPILOG = """\
examples:
  # last month's mask and model in today's scan: the rigid motion from today's reference to theirs
  corticast-train project --reference today.nii.gz --mask mask.nii.gz --motion today_motion.tsv \\
      --model model --out today.safetensors
  # a mask in MNI space: a warp of ANTs to the T1, then an affine from the T1 to today
  corticast-train project --reference today.nii.gz --mask mni_mask.nii.gz \\
      --warp-lps 1Warp.nii.gz --affine t1_to_today.txt --out today.safetensors
  # vertices half way between white and pial, left then right
  corticast-train project --reference today.nii.gz --affine t1_to_today.txt \\
      --surface lh.white.surf.gii rh.white.surf.gii \\
      --pial lh.pial.surf.gii rh.pial.surf.gii --out today.safetensors
  # the grayordinates of a CIFTI file; the means of the parcels of another
  corticast-train project --reference today.nii.gz --cifti map.dscalar.nii \\
      --surface L.midthickness.surf.gii R.midthickness.surf.gii --out today.safetensors
  corticast-train project --reference today.nii.gz --parcels atlas.dlabel.nii \\
      --surface L.midthickness.surf.gii R.midthickness.surf.gii --out today.safetensors

Transforms are applied in the order given, from the model's space to today's reference, in RAS+ mm.
A model of 2 mm voxels in a scan of 3 mm is interpolated, not averaged: no smoothing is added.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command."""
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        metavar="IMAGE",
        help="NIfTI of today's scan: its matrix and affine are used, its voxels are not",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the matrix, .safetensors"
    )
    what = parser.add_argument_group(
        "the features, one of these; --surface alone takes every vertex"
    )
    one = what.add_mutually_exclusive_group()
    one.add_argument(
        "--mask", type=Path, metavar="IMAGE", help="voxels that are not 0; a value is a weight"
    )
    one.add_argument(
        "--parcels",
        type=Path,
        metavar="FILE",
        help="label image or .dlabel.nii: the mean of each label, ascending, without 0",
    )
    one.add_argument(
        "--cifti", type=Path, metavar="FILE", help="rows of .dscalar.nii, .dtseries.nii, …"
    )
    what.add_argument(
        "--surface", type=Path, nargs="+", default=[], metavar="GII", help=".surf.gii, in order"
    )
    what.add_argument(
        "--pial",
        type=Path,
        nargs="+",
        default=[],
        metavar="GII",
        help="--surface is white, and vertices lie half way to these",
    )
    steps = parser.add_argument_group("transforms, from the model's space to today's reference")
    for kind, text in {
        "affine": "text, 4 lines of 4 numbers: model to today, RAS+ mm",
        "inverse-affine": "the same, of today to model",
        "motion": "table of trans_x … rot_z, one line: today to model, as realign reports it",
        "warp-lps": "displacements x, y, z in mm, LPS axes (ANTs, ITK): model to today",
        "warp-ras": "the same, RAS+ axes",
    }.items():
        steps.add_argument(
            f"--{kind}",
            type=_step(kind),
            action="append",
            dest="transforms",
            default=[],
            metavar="FILE",
            help=text,
        )
    parser.add_argument(
        "--min-coverage",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of features that must lie in today's field of view (default: 1, all)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="compare with the mask of this model, and write its hash into the file",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the report as JSON instead of a table"
    )


def _step(kind: str) -> Callable[[str], tuple[str, Path]]:
    def step(text: str) -> tuple[str, Path]:
        return kind, Path(text)

    return step
