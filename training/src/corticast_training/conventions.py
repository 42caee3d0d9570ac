"""Conventions of motion parameters: ours, and the way to and from those of other packages.

Ours: the rigid transform that takes a volume to the reference, `p_ref = R·p + t`, RAS+ axes in mm,
`R = Rx·Ry·Rz`, right-handed, about the world origin; in a table `trans_x trans_y trans_z` in mm and
`rot_x rot_y rot_z` in radians. docs/conventions.md has the table of all packages.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
SPM_SIGNS = np.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])
"""`spm_matrix` turns about x and z the other way than about y."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS+ to LPS+, the axes of DICOM, ITK and AFNI, and back."""

Affine = NDArray[np.float64]


def motion_to_matrix(motion: Sequence[float] | NDArray[np.float64]) -> Affine:
    """The 4x4 matrix of six parameters in the order of `MOTION_COLUMNS`."""
    x, y, z = (float(value) for value in motion[3:6])
    (cx, cy, cz), (sx, sy, sz) = np.cos((x, y, z)), np.sin((x, y, z))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_x @ about_y @ about_z
    matrix[:3, 3] = motion[:3]
    return matrix


def matrix_to_motion(matrix: Affine) -> NDArray[np.float64]:
    """The six parameters of a rigid 4x4 matrix; rotations about y stay within a quarter turn."""
    r = matrix[:3, :3]
    if np.abs(r @ r.T - np.eye(3)).max() > 1e-6 or np.linalg.det(r) < 0:
        raise ValueError("the matrix scales, shears or mirrors, expected a rigid transform")
    y = np.arcsin(np.clip(r[0, 2], -1, 1))
    x, z = np.arctan2(-r[1, 2], r[2, 2]), np.arctan2(-r[0, 1], r[0, 0])
    return np.array([*matrix[:3, 3], x, y, z])


def from_spm(rp: NDArray[np.float64]) -> NDArray[np.float64]:
    """A row or all rows of SPM's `rp_*.txt` as ours: the same but for two signs."""
    return np.asarray(rp * SPM_SIGNS, np.float64)


def to_spm(motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ours as a row or all rows of `rp_*.txt`."""
    return np.asarray(motion * SPM_SIGNS, np.float64)
