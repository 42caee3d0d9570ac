"""Motion parameters: ours, and the way to and from those of SPM, AFNI and FSL.

Ours: the rigid transform that takes a volume to the reference, `p_ref = R·p + t`, RAS+ axes in mm,
`R = Rx·Ry·Rz`, right-handed, about the world origin; in a table `trans_x trans_y trans_z` in mm and
`rot_x rot_y rot_z` in radians. Functions that take or give a matrix mean 4x4 of the same transform.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
SPM_SIGNS = np.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0])
"""`spm_matrix` turns about x and z the other way than about y."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS+ to LPS+, the axes of DICOM, ITK and AFNI, and back."""

Floats = NDArray[np.float64]


def motion_to_matrix(motion: Sequence[float] | Floats) -> Floats:
    """The matrix of six parameters in the order of `MOTION_COLUMNS`."""
    x, y, z = (float(value) for value in motion[3:6])
    (cx, cy, cz), (sx, sy, sz) = np.cos((x, y, z)), np.sin((x, y, z))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_x @ about_y @ about_z
    matrix[:3, 3] = motion[:3]
    return matrix


def matrix_to_motion(matrix: Floats) -> Floats:
    """The six parameters of a rigid matrix. The angle about y is within a quarter turn."""
    r = matrix[:3, :3]
    if np.abs(r @ r.T - np.eye(3)).max() > 1e-4 or np.linalg.det(r) < 0:
        raise ValueError("the matrix scales, shears or mirrors, expected a rigid transform")
    y = np.arcsin(np.clip(r[0, 2], -1, 1))
    x, z = np.arctan2(-r[1, 2], r[2, 2]), np.arctan2(-r[0, 1], r[0, 0])
    return np.array([*matrix[:3, 3], x, y, z])


def from_spm(rp: Floats) -> Floats:
    """A row or all rows of SPM's `rp_*.txt` as ours: the same but for two signs."""
    return np.asarray(rp * SPM_SIGNS, np.float64)


def to_spm(motion: Floats) -> Floats:
    """Ours as a row or all rows of `rp_*.txt`."""
    return np.asarray(motion * SPM_SIGNS, np.float64)


def from_afni(row: Sequence[float] | Floats) -> Floats:
    """The matrix of a row of `3dvolreg -1Dmatrix_save`, 12 numbers.

    AFNI's leads from the base to the input, LPS+. For scans that are not oblique: AFNI's
    coordinates of an oblique scan are not those of its affine.
    """
    base_to_input = np.vstack([np.reshape(row, (3, 4)), (0, 0, 0, 1)])
    return np.asarray(LPS @ np.linalg.inv(base_to_input) @ LPS, np.float64)


def to_afni(matrix: Floats) -> Floats:
    """The row of `-1Dmatrix_save`, 12 numbers."""
    return np.asarray((LPS @ np.linalg.inv(matrix) @ LPS)[:3].reshape(12), np.float64)


def fsl_coordinates(matrix: Sequence[int], affine: Floats) -> Floats:
    """From RAS+ mm to the mm that FSL's matrices are about, 4x4.

    FSL scales voxel indices by the size of a voxel, and counts x from the other end if the affine
    has a positive determinant.
    """
    size = np.linalg.norm(affine[:3, :3], axis=0)
    scaled = np.diag([*size, 1.0])
    if np.linalg.det(affine[:3, :3]) > 0:
        scaled[0, 0], scaled[0, 3] = -size[0], (matrix[0] - 1) * size[0]
    return np.asarray(scaled @ np.linalg.inv(affine), np.float64)


def from_fsl(fsl: Floats, moving_to_fsl: Floats, reference_to_fsl: Floats) -> Floats:
    """The matrix, in RAS+ mm, of one of FLIRT or of MCFLIRT (`-mats`), from `-in` to the reference.

    The others are `fsl_coordinates` of the two images, which are the same for MCFLIRT.
    """
    return np.asarray(np.linalg.inv(reference_to_fsl) @ fsl @ moving_to_fsl, np.float64)


def to_fsl(matrix: Floats, moving_to_fsl: Floats, reference_to_fsl: Floats) -> Floats:
    """The matrix of FLIRT or MCFLIRT, from `-in` to the reference."""
    return np.asarray(reference_to_fsl @ matrix @ np.linalg.inv(moving_to_fsl), np.float64)


def from_mcflirt_par(par: Sequence[float] | Floats, centre_mm: Floats) -> Floats:
    """MCFLIRT's matrix, in FSL's mm, of a row of its `.par`: rotations first, in radians.

    `x' = R·(x - centre) + centre + t` with `R = Rx·Ry·Rz`, each turning the other way than ours.
    After `construct_rotmat_euler` and `decompose_aff` of FSL's miscmaths. The centre is not in the
    file; MCFLIRT's `.mat` folder holds the complete matrices.
    """
    turned = motion_to_matrix((0.0, 0.0, 0.0, *(-float(angle) for angle in par[:3])))
    turned[:3, 3] = np.asarray(par[3:6]) + centre_mm - turned[:3, :3] @ centre_mm
    return turned


def to_mcflirt_par(fsl: Floats, centre_mm: Floats) -> Floats:
    """The row of a `.par` of MCFLIRT's matrix, for rotations about `centre_mm`."""
    shift = fsl[:3, :3] @ centre_mm + fsl[:3, 3] - centre_mm
    return np.array([*-matrix_to_motion(fsl)[3:6], *shift])


def about(matrix: Floats, centre_mm: Floats) -> Floats:
    """The six parameters with rotations about a centre in place of the world origin.

    Only the translations differ. FD depends on the centre; near the middle of the head they are
    what the head has moved by.
    """
    motion = matrix_to_motion(matrix)
    motion[:3] = matrix[:3, :3] @ centre_mm + matrix[:3, 3] - centre_mm
    return motion
