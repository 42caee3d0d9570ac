"""Files that the tests of `corticast-train project` read, and what it wrote."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from corticast_training.cli import main

MATRIX = (9, 8, 7)
AFFINE = np.array([[-3.0, 0, 0, 12], [0, 3.0, 0, -10], [0, 0, 3.5, -11], [0, 0, 0, 1]])
"""x runs from right to left, as scanners store it."""


def oblique() -> NDArray[np.float64]:
    """An affine that is turned about all axes, with voxels of three sizes."""
    x, y, z = 0.2, -0.3, 0.15
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(about_x) @ about_y @ about_z @ np.diag([-2.5, 3.0, 3.5])
    affine[:3, 3] = [10.0, -9.0, -12.0]
    return affine


def image(path: Path, values: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> Path:
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(values, affine), path)
    return path


def affine_text(path: Path, affine: NDArray[np.float64]) -> Path:
    np.savetxt(path, affine, fmt="%.17g")
    return path


def surface(path: Path, vertices: NDArray[np.float64], structure: str | None, **meta: str) -> Path:
    gifti: Any = nibabel.gifti
    triangles = np.array([[0, 1, 2]], np.int32)
    points = gifti.GiftiDataArray(
        vertices.astype(np.float32), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32", meta=dict(meta)
    )
    if structure:
        points.meta["AnatomicalStructurePrimary"] = structure
    faces = gifti.GiftiDataArray(triangles, "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32")
    nibabel.save(gifti.GiftiImage(darrays=[points, faces]), path)
    return path


def project(reference: Path, out: Path, *more: str | Path) -> int:
    words = ["project", "--reference", reference, "--out", out, *more]
    return main([str(word) for word in words])


class Projected:
    """A matrix as it was written, and what it makes of a volume."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="numpy") as file:
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.metadata: dict[str, str] = file.metadata()
        self.report = json.loads(path.with_suffix(".json").read_text())
        self.indptr = self.tensors["indptr"].astype(np.int64)
        self.indices, self.weights = self.tensors["indices"], self.tensors["weights"]

    @property
    def n(self) -> int:
        return len(self.indptr) - 1

    def row(self, number: int) -> dict[int, float]:
        part = slice(self.indptr[number], self.indptr[number + 1])
        return dict(zip(self.indices[part].tolist(), self.weights[part].tolist(), strict=True))

    def of(self, volume: NDArray[Any]) -> NDArray[np.float64]:
        """The daemon's sums: entries in C order, in f64."""
        flat = volume.astype(np.float64).reshape(-1)
        terms = flat[self.indices] * self.weights.astype(np.float64)
        rows = np.repeat(np.arange(self.n), np.diff(self.indptr))
        return np.asarray(np.bincount(rows, terms, self.n), np.float64)
