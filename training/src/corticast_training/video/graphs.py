"""The graphs of a set: which networks each is made of, and the names and axes at its borders.

A size that is a word is dynamic: `-1` in `video.toml`, and free when the graph runs. In a
static set only the number of images and of texts stays free; the rest is fixed, as a CUDA graph
needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corticast_training.video import wrappers
from corticast_training.video.config import TEXT_TOKENS, VideoConfig

Size = int | str | None
"""A fixed size, a word for a dynamic one, or `None`: fixed, whatever the network gives."""

TRACE_BATCH, TRACE_LATENT = 2, 8
OTHER = {"batch": 1, "frames": 5, "height": 16, "width": 8, "n": 3}
"""Sizes a dynamic graph is tried at, beside those it was traced with."""


@dataclass(frozen=True)
class Border:
    """One input or output."""

    name: str
    shape: tuple[Size, ...]
    dtype: str = "f32"


@dataclass(frozen=True)
class Graph:
    """One ONNX file to be."""

    role: str
    sources: dict[str, str]
    """Attribute of the wrapper → which assembled network it holds."""
    build: Callable[..., nn.Module]
    """Makes the wrapper of the networks, in the order of `sources`."""
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]


def latent_border(name: str, batch: Size, channels: int, static: tuple[int, int] | None) -> Border:
    """Video latents `[batch, channels, F, h, w]`; `static` fixes frames and edge."""
    if static is None:
        return Border(name, (batch, channels, "frames", "height", "width"))
    frames, edge = static
    return Border(name, (batch, channels, frames, edge, edge))


def plan(
    config: VideoConfig,
    text_dim: int,
    n_residual: int,
    *,
    dynamic: bool,
    split: int,
    lcm: bool,
    taesd: bool,
    precision: str,
) -> list[Graph]:
    """All graphs of a set.

    A dynamic set has the split and the fused graphs. A static one has the fused step with
    guidance and the one without; `split` (1 or 2, its batch) adds the split graphs to it, for
    residuals that are kept while text and key frame stay. `lcm`: the steps without guidance run
    on the UNet into which the consistency LoRA was fused.
    """
    static = None if dynamic else (config.frames, config.latent)
    batch: Size = "batch" if dynamic else split
    residual_type = "f16" if precision == "fp16" else "f32"
    few_steps = "unet_lcm" if lcm else "unet"

    timestep = Border("timestep", (1,), "i64")
    cond, mask = latent_border("cond", 1, 4, static), latent_border("mask", 1, 1, static)
    conditions = (cond, mask, Border("control_scale", ()))
    names = [f"down_{k}" for k in range(n_residual - 1)] + ["mid"]

    def context(size: Size) -> Border:
        return Border("context", (size, TEXT_TOKENS, text_dim))

    def residuals() -> tuple[Border, ...]:
        if static is None:
            return tuple(
                Border(k, (f"images_{k}", None, f"height_{k}", f"width_{k}"), residual_type)
                for k in names
            )
        return tuple(Border(k, (None, None, None, None), residual_type) for k in names)

    def unet(role: str, source: str) -> Graph:
        return Graph(
            role,
            {"unet": source},
            wrappers.Unet,
            (latent_border("sample", batch, 4, static), timestep, context(batch), *residuals()),
            (latent_border("noise_pred", batch, 4, static),),
        )

    edge: Size = "height" if dynamic else config.latent
    width: Size = "width" if dynamic else config.latent
    pixel: Size = "image_height" if dynamic else 8 * config.latent
    pixel_width: Size = "image_width" if dynamic else 8 * config.latent
    image = Border("image", ("n", 3, pixel, pixel_width))
    moments = tuple(Border(name, ("n", 4, edge, width)) for name in ("mean", "logvar"))
    latent = Border("latent", ("n", 4, edge, width))

    graphs = [
        Graph(
            "text_encoder",
            {"text_encoder": "text_encoder"},
            wrappers.TextEncoder,
            (Border("input_ids", ("batch", TEXT_TOKENS), "i64"),),
            (Border("last_hidden_state", ("batch", TEXT_TOKENS, text_dim)),),
        ),
        Graph(
            "denoise_step",
            {"unet": "unet", "controlnet": "controlnet"},
            wrappers.DenoiseStep,
            (
                latent_border("latents", 1, 4, static),
                timestep,
                context(2),
                *conditions,
                Border("guidance", ()),
            ),
            (latent_border("noise_pred", 1, 4, static),),
        ),
        Graph(
            "denoise_step_plain",
            {"unet": few_steps, "controlnet": "controlnet"},
            wrappers.DenoiseStepPlain,
            (latent_border("latents", 1, 4, static), timestep, context(1), *conditions),
            (latent_border("noise_pred", 1, 4, static),),
        ),
        Graph("vae_encoder", {"vae": "vae"}, wrappers.VaeEncoder, (image,), moments),
        Graph("vae_decoder", {"vae": "vae"}, wrappers.VaeDecoder, (latent,), (image,)),
    ]
    if dynamic or split:
        graphs += [
            Graph(
                "controlnet",
                {"controlnet": "controlnet"},
                wrappers.ControlNet,
                (timestep, context(batch), cond, mask, Border("scale", ())),
                residuals(),
            ),
            unet("unet", "unet"),
            Graph(
                "unet_plain",
                {"unet": few_steps},
                wrappers.UnetPlain,
                (latent_border("sample", batch, 4, static), timestep, context(batch)),
                (latent_border("noise_pred", batch, 4, static),),
            ),
        ]
        if lcm:
            graphs.append(unet("unet_lcm", "unet_lcm"))
    if taesd:
        scale = config.vae_scale
        graphs += [
            Graph(
                "taesd_encoder",
                {"taesd": "taesd"},
                lambda network: wrappers.TaesdEncoder(network, scale),
                (image,),
                moments,
            ),
            Graph(
                "taesd_decoder",
                {"taesd": "taesd"},
                lambda network: wrappers.TaesdDecoder(network, scale),
                (latent,),
                (image,),
            ),
        ]
    return graphs


def dynamic_axes(borders: Sequence[Border]) -> dict[str, dict[int, str]]:
    """As the exporter wants them: name → axis → word."""
    found = {
        border.name: {k: size for k, size in enumerate(border.shape) if isinstance(size, str)}
        for border in borders
    }
    return {name: axes for name, axes in found.items() if axes}


def examples(
    graph: Graph,
    sizes: Mapping[str, int],
    seed: int,
    dtype: torch.dtype,
    residuals: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """Random inputs at the given dynamic sizes: unit normal, and what is no tensor as in use.

    Inputs whose sizes only the network knows are `residuals`, which the caller computes.
    """
    generator = torch.Generator().manual_seed(seed)
    scalars = {"scale": 1.0, "control_scale": 1.0, "guidance": 8.5}
    given = iter(residuals or ())
    found = []
    for border in graph.inputs:
        if None in border.shape:
            found.append(next(given))
            continue
        shape = [size if isinstance(size, int) else sizes[size] for size in border.shape if size]
        if border.name == "input_ids":
            found.append(torch.randint(0, 49408, shape, generator=generator))
        elif border.name == "timestep":
            found.append(torch.tensor([501]))
        elif border.name == "mask":
            mask = torch.zeros(shape)
            mask[:, :, 0] = 1.0
            found.append(mask)
        elif not border.shape:
            found.append(torch.tensor(scalars[border.name]))
        else:
            tensor = torch.randn(shape, generator=generator)
            found.append(tensor.to(dtype) if border.dtype == "f16" else tensor)
    return tuple(found)
