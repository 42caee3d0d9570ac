"""The file of the sparse matrix: what the daemon reads, and in its metadata where it came from.

Tensors, as `daemon/src/plan/mask_file.rs` reads them: `indptr` u32 `[n_row + 1]`, `indices` u32
`[n_entry]` (linear index `(x·ny + y)·nz + z`), `weights` f32 `[n_entry]`, `matrix` i64 `[3]`,
`affine` f64 `[4, 4]`. The same input gives the same bytes, which is why this file does not use
`safetensors.numpy.save`: it shuffles the metadata.
"""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from corticast_training.project.rows import Rows
from corticast_training.project.space import Space

TYPES = {"<f8": "F64", "<i8": "I64", "<u4": "U32", "<f4": "F32"}


def write_mask(path: Path, rows: Rows, space: Space, metadata: Mapping[str, Any]) -> None:
    """Writes the file as a whole or not at all. Metadata that is no text becomes JSON."""
    # The widest types come first, so that every tensor is aligned.
    tensors = {
        "affine": np.asarray(space.affine, "<f8"),
        "matrix": np.array(space.matrix, "<i8"),
        "indptr": rows.indptr.astype("<u4", copy=False),
        "indices": rows.indices.astype("<u4", copy=False),
        "weights": rows.weights.astype("<f4", copy=False),
    }
    header: dict[str, Any] = {
        "__metadata__": {
            key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for key, value in metadata.items()
        }
    }
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        kind = TYPES[tensor.dtype.str]
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    aside = path.with_name(f".part.{path.name}")
    try:
        with aside.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for tensor in tensors.values():
                file.write(tensor.tobytes())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
