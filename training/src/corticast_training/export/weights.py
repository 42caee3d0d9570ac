"""Weights of one graph as a raw file, in pieces, so that they never have to fit into memory.

The source is a memory-mapped checkpoint. The graph embeds the file's contents or, above ONNX's
limit, refers to the file. A Linear's weight is written `[in, out]`, as MatMul reads it:
otherwise every session would transpose gigabytes when it starts.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from corticast_training.errors import TrainingError
from corticast_training.video.weights import Stored

_PIECE_BYTES = 256 * 2**20
# ONNX Runtime maps external data that starts on a page.
_PAGE, _SMALL = 4096, 64
_HALF_MAX = 65504


def linear_weights(network: nn.Module) -> set[str]:
    """Names of the weights of all Linear layers; these are stored transposed."""
    return {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    }


def write_weights(
    tensors: Mapping[str, Tensor], path: Path, *, transposed: Container[str], half: bool
) -> dict[str, Stored]:
    """Writes tensors to `path`; returns the position of each.

    With `half`, f32 tensors of two or more axes are stored in fp16; scales and biases, which are
    few and often large, stay as they are. Raises `TrainingError` if a weight does not fit.
    """
    index: dict[str, Stored] = {}
    with path.open("wb") as file:
        for name, tensor in tensors.items():
            halved = half and tensor.is_floating_point() and tensor.dim() >= 2
            dtype = torch.float16 if halved else tensor.dtype
            if dtype == torch.bfloat16:  # NumPy has none
                dtype = torch.float32
            length = tensor.numel() * dtype.itemsize
            file.write(b"\0" * (-file.tell() % (_PAGE if length >= _PAGE else _SMALL)))
            laid_out = tensor.detach().T if name in transposed else tensor.detach()
            index[name] = Stored(
                dtype=str(dtype).removeprefix("torch."),
                shape=list(laid_out.shape),
                offset=file.tell(),
                length=length,
                transposed=name in transposed,
            )
            _write(file, name, laid_out, dtype)
    return index


def _write(file: BinaryIO, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    rows = tensor.reshape(1) if tensor.dim() == 0 else tensor
    row_bytes = max(1, rows[:1].numel() * tensor.element_size())
    for piece in rows.split(max(1, _PIECE_BYTES // row_bytes)):
        converted = piece.to(dtype).contiguous()
        if converted.is_floating_point() and not torch.isfinite(converted).all():
            if not torch.isfinite(piece).all():
                raise TrainingError(f"{name} holds NaN or Inf, expected finite weights")
            raise TrainingError(
                f"{name} has values up to {float(piece.abs().max()):g}, expected at most "
                f"{_HALF_MAX} for half precision: use --precision fp32"
            )
        converted.numpy().tofile(file)
