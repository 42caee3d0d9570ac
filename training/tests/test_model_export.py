"""Every network can be written as ONNX with a dynamic batch and gives the same numbers there."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from corticast_training.config import Config
from corticast_training.model.brain import BrainModel
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.prior import Prior

TINY = Config.load("tiny").sizes
F, N, C, T = TINY.n_frame, TINY.n_token, TINY.channels, TINY.text_dim
PAST = (TINY.caption_layers, 2)
HEAD = (TINY.caption_heads, 4, TINY.caption_embd // TINY.caption_heads)


class Graph(nn.Module):
    """A function of a network as a graph of its own."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def brain() -> Graph:
    network = BrainModel(TINY, {"01": 40}, 2, torch.randn(C, T))
    return Graph(network, lambda bold: network(bold, "01").tokens)


def prior() -> Graph:
    return Graph(network := Prior(TINY), network.forward)


def head(name: str, text_keys: str = "tokens") -> Callable[[], Graph]:
    def make() -> Graph:
        network = Decoupler(TINY, text_keys=text_keys)
        functions: Mapping[str, Callable[..., Any]] = {
            "motion": network.motion,
            "concepts": lambda frames: network.concepts(frames).sigmoid(),
            "objects": network.objects,
            "reconstruct": network.reconstruct,
            "prefix": network.captioner.embed_prefix,
            "embed": network.captioner.embed_ids,
            "step": network.captioner.step,
        }
        return Graph(network, functions[name])

    return make


def frames(n: int) -> Tensor:
    return torch.randn(n, F, N, C)


CASES: Mapping[str, tuple[Callable[[], Graph], Callable[[int], Sequence[Tensor]], list[set[int]]]]
CASES = {
    "brain": (brain, lambda n: [torch.randn(n, 2, 40)], [{0}]),
    "prior": (
        prior,
        lambda n: [torch.randn(n, N, C), torch.arange(n) * 30, torch.randn(n, N, C)],
        [{0}, {0}, {0}],
    ),
    "motion": (head("motion"), lambda n: [torch.randn(n, N, C)], [{0}]),
    "concepts": (head("concepts"), lambda n: [frames(n)], [{0}]),
    "objects": (
        head("objects"),
        lambda n: [frames(n), torch.randn(n, 2 + n, T)],
        [{0}, {0, 1}],
    ),
    "reconstruct": (head("reconstruct"), lambda n: [frames(n), torch.randn(n, T)], [{0}, {0}]),
    "reconstruct of the batch": (
        head("reconstruct", "batch"),
        lambda n: [frames(n), torch.randn(n, T)],
        [{0}, {0}],
    ),
    "prefix": (head("prefix"), lambda n: [torch.randn(n, T)], [{0}]),
    "embed": (head("embed"), lambda n: [torch.randint(0, 49407, (n, 2 * n - 1))], [{0, 1}]),
    "step": (
        head("step"),
        lambda n: [
            torch.randn(n, n, TINY.caption_embd),
            torch.randn(*PAST, n, HEAD[0], HEAD[1] * (n - 1), HEAD[2]),
        ],
        [{0, 1}, {2, 4}],
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean")
@pytest.mark.filterwarnings("error:Using len:torch.jit.TracerWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_graph_gives_the_networks_numbers_at_other_batches(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, inputs, dynamic = CASES[name]
    graph = make().eval()
    names = [f"input_{index}" for index in range(len(dynamic))]
    written = tmp_path / f"{name}.onnx"
    with torch.no_grad():
        torch.onnx.export(
            graph,
            tuple(inputs(2)),
            written,
            input_names=names,
            dynamic_axes={
                key: {axis: f"{key}_{axis}" for axis in axes}
                for key, axes in zip(names, dynamic, strict=True)
            },
            opset_version=18,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3):
        given = inputs(batch)
        with torch.no_grad():
            expected = graph(*given)
        expected = expected if isinstance(expected, tuple) else (expected,)
        feed = {key: x.numpy() for key, x in zip(names, given, strict=True)}
        found = session.run(None, feed)
        for ours, theirs in zip(expected, found, strict=True):
            scale = float(ours.abs().max())
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=1e-4 * scale)
