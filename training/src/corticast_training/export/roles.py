"""Inputs and outputs of each graph of a model, and the lengths at which it is checked.

Names and shapes are those that the daemon checks (`models/src/neurons/contract.rs`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.choices import HEADS
from corticast_training.config import GPT2_VOCABULARY, N_CLASS, STOP_ID, Config
from corticast_training.errors import TrainingError
from corticast_training.export import wrappers
from corticast_training.export.border import Border
from corticast_training.export.graph import Graph
from corticast_training.labels.classes import CLASSES
from corticast_training.model.brain import BrainModel
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.prior import Prior
from corticast_training.model.ridge import key

NEEDED = ("brain", "prior", "motion")
VAE_ROLE = "vae_decoder"
TABLE = "caption_table"
"""The captioner's embedding, which two graphs read: key and file of the shared weights."""

BATCHES = ({"batch": 2}, {"batch": 1}, {"batch": 3})


@dataclass(frozen=True)
class Networks:
    """A stage 2 checkpoint in evaluation mode."""

    brain: BrainModel
    prior: Prior
    decoupler: Decoupler
    config: Config
    window_volumes: int
    subject: str


def graph(role: str, networks: Networks) -> Graph:
    """The graph of a role of the model. `vae_graph` makes that of the VAE, which is not trained."""
    return _GRAPHS[role](networks)


def roles_without(left_out: frozenset[str]) -> list[str]:
    """Roles in the order of export, without the heads that are left out."""
    if unknown := sorted(left_out - HEADS.keys()):
        raise TrainingError(f"no head is called {unknown[0]!r}, expected {', '.join(HEADS)}")
    if "concepts" in left_out and "objects" not in left_out:
        raise TrainingError(
            "objects are found by the likeliest concept: leave out objects with concepts"
        )
    kept = (role for head, roles in HEADS.items() if head not in left_out for role in roles)
    return [*NEEDED, *kept]


def _brain(networks: Networks) -> Graph:
    sizes, brain = networks.config.sizes, networks.brain
    ridge = brain.ridge.linears[key(networks.subject)]
    assert isinstance(ridge, nn.Linear)
    n_voxel = ridge.in_features
    return Graph(
        role="brain",
        network=wrappers.BrainGraph(ridge, brain.backbone),
        inputs=(Border("bold", ("batch", networks.window_volumes, n_voxel)),),
        outputs=(Border("brain_tokens", ("batch", sizes.n_token, sizes.channels)),),
        lengths=BATCHES,
    )


def _prior(networks: Networks) -> Graph:
    sizes = networks.config.sizes
    tokens = ("batch", sizes.n_token, sizes.channels)

    def timesteps(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randint(0, sizes.prior_steps, shape, generator=generator)

    return Graph(
        role="prior",
        network=wrappers.PriorGraph(networks.prior),
        inputs=(
            Border("image_embed", tokens),
            Border("timestep", ("batch",), "i64"),
            Border("brain_embed", tokens),
        ),
        outputs=(Border("pred_x0", tokens),),
        lengths=BATCHES,
        makers={"timestep": timesteps},
    )


def _frames(networks: Networks) -> Border:
    sizes = networks.config.sizes
    return Border("frame_tokens", ("batch", sizes.n_frame, sizes.n_token, sizes.channels))


def _motion(networks: Networks) -> Graph:
    sizes = networks.config.sizes
    return Graph(
        role="motion",
        network=wrappers.MotionGraph(networks.decoupler.motion, networks.brain.text),
        inputs=(Border("tokens", ("batch", sizes.n_token, sizes.channels)),),
        outputs=(_frames(networks), Border("text_embed", ("batch", sizes.text_dim))),
        lengths=BATCHES,
    )


def _concepts(networks: Networks) -> Graph:
    return Graph(
        role="concepts",
        network=wrappers.ConceptsGraph(networks.decoupler.concepts),
        inputs=(_frames(networks),),
        outputs=(Border("probabilities", ("batch", N_CLASS)),),
        lengths=BATCHES,
        classes=CLASSES,
    )


def _objects(networks: Networks) -> Graph:
    sizes = networks.config.sizes
    return Graph(
        role="objects",
        network=wrappers.ObjectsGraph(networks.decoupler.regions),
        inputs=(
            _frames(networks),
            Border("text_states", ("batch", "text", sizes.text_dim)),
        ),
        outputs=(Border("mask_logits", ("batch", sizes.n_frame, 1, sizes.mask, sizes.mask)),),
        lengths=(
            {"batch": 2, "text": 4},
            {"batch": 1, "text": 3},
            {"batch": 1, "text": 1},
            {"batch": 3, "text": 9},
        ),
    )


def _reconstruction(networks: Networks) -> Graph:
    sizes = networks.config.sizes
    latents = ("batch", sizes.n_frame, 4, sizes.latent, sizes.latent)
    return Graph(
        role="reconstruction",
        network=wrappers.ReconstructionGraph(networks.decoupler.regions),
        inputs=(_frames(networks), Border("text_embed", ("batch", sizes.text_dim))),
        outputs=(Border("latents", latents),),
        lengths=BATCHES,
    )


def _caption_prefix(networks: Networks) -> Graph:
    sizes = networks.config.sizes

    def normalised(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return functional.normalize(torch.randn(shape, generator=generator), dim=-1)

    return Graph(
        role="caption_prefix",
        network=wrappers.CaptionPrefixGraph(networks.decoupler.captioner),
        inputs=(Border("clip_text_embed", ("batch", sizes.text_dim)),),
        outputs=(Border("prefix", ("batch", 1, sizes.caption_embd)),),
        lengths=BATCHES,
        makers={"clip_text_embed": normalised},
    )


def _caption_embed(networks: Networks) -> Graph:
    def ids(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randint(0, STOP_ID + 1, shape, generator=generator)

    return Graph(
        role="caption_embed",
        network=wrappers.CaptionEmbedGraph(networks.decoupler.captioner),
        inputs=(Border("ids", ("batch", "step"), "i64"),),
        outputs=(Border("embeds", ("batch", "step", networks.config.sizes.caption_embd)),),
        lengths=({"batch": 2, "step": 3}, {"batch": 1, "step": 1}, {"batch": 3, "step": 1}),
        makers={"ids": ids},
        shared={"wte.weight": TABLE},
    )


def _caption_decoder(networks: Networks) -> Graph:
    sizes = networks.config.sizes
    heads, width = sizes.caption_heads, sizes.caption_embd

    def past(length: str) -> tuple[int | str, ...]:
        return (sizes.caption_layers, 2, "batch", heads, length, width // heads)

    return Graph(
        role="caption_decoder",
        network=wrappers.CaptionDecoderGraph(networks.decoupler.captioner),
        inputs=(Border("inputs_embeds", ("batch", "step", width)), Border("past", past("past"))),
        outputs=(
            Border("logits", ("batch", GPT2_VOCABULARY)),
            Border("present", past("past+step")),
        ),
        lengths=(
            {"batch": 2, "step": 2, "past": 2},
            {"batch": 1, "step": 1, "past": 0},
            {"batch": 1, "step": 1, "past": 1},
            {"batch": 3, "step": 1, "past": 2},
            {"batch": 1, "step": 1, "past": 3},
            {"batch": 2, "step": 4, "past": 0},
        ),
        shared={"captioner.wte.weight": TABLE},
    )


_GRAPHS: dict[str, Callable[[Networks], Graph]] = {
    "brain": _brain,
    "prior": _prior,
    "motion": _motion,
    "concepts": _concepts,
    "objects": _objects,
    "reconstruction": _reconstruction,
    "caption_prefix": _caption_prefix,
    "caption_embed": _caption_embed,
    "caption_decoder": _caption_decoder,
}


def vae_graph(vae: nn.Module, latent: int) -> Graph:
    """The decoder of a VAE of factor 8, for pictures of any size."""
    return Graph(
        role=VAE_ROLE,
        network=wrappers.VaeDecoderGraph(vae),
        inputs=(Border("latent", ("batch", 4, "height", "width")),),
        outputs=(Border("image", ("batch", 3, "image_height", "image_width")),),
        lengths=(
            {"batch": 2, "height": latent, "width": latent},
            {"batch": 1, "height": latent, "width": latent + 4},
        ),
    )
