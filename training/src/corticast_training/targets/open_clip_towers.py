"""OpenCLIP's image and text towers from a local folder.

The paper's is ViT-bigG/14 (`open_clip_config.json` and `open_clip_model.safetensors` or
`open_clip_pytorch_model.bin`, as OpenCLIP saves them). Image tokens are those of the patches
after the last block **and its final layer norm**, which is what OpenCLIP returns since 2.21 and
what MindEye2 was trained on (it pins 2.24); 2.20 and older returned them before the norm.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.errors import TrainingError
from corticast_training.model.published import read_weights
from corticast_training.targets import bpe

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_model.bin",
)
# Statistics of the pictures that OpenAI's CLIP was trained on; OpenCLIP's models use them too.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class OpenClip(nn.Module):
    """Both towers, without the parts of the model that are not needed."""

    def __init__(self, model: Any, image_size: int, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model = model
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, 3, h, w]` in 0..1 to patch tokens `[n, N, C]` and joint embeddings `[n, T]`."""
        edge = self.image_size
        if pixels.shape[-2:] != (edge, edge):
            pixels = functional.interpolate(pixels, (edge, edge), mode="bicubic", antialias=True)
        pooled, tokens = self.model.visual((pixels.clamp(0, 1) - self.mean) / self.std)
        return tokens, pooled

    def text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Zero-padded ids `[n, 77]` to projected states `[n, 77, T]` and embeddings `[n, T]`.

        The embedding is the state at the end token.
        """
        model = self.model
        x = model.token_embedding(ids) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        states: Tensor = x @ model.text_projection
        return states, states[torch.arange(len(ids), device=ids.device), ids.argmax(-1)]

    def own_projection(self) -> NDArray[np.float32]:
        """`[C, T]`: the projection of the image tower's class token into the joint space.

        It is a stand-in for the projection of the mean patch token, until one is given or fitted.
        """
        visual = self.model.visual
        matrix: NDArray[np.float32] = visual.proj.detach().float().cpu().numpy()
        return matrix


def weights_file(folder: Path) -> Path:
    """The checkpoint in a folder."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise TrainingError(f"{folder}: no weights in it, expected one of {', '.join(WEIGHTS)}")


def load_open_clip(folder: Path) -> OpenClip:
    """Builds the model that the folder's config describes and fills it with its weights."""
    import open_clip

    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model_config, pictures = config["model_cfg"], config.get("preprocess_cfg", {})
        vision, text = model_config["vision_cfg"], model_config["text_cfg"]
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: missing, expected a folder saved by OpenCLIP") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: not a config of OpenCLIP: {error!r}") from error
    if "hf_model_name" in text or "timm_model_name" in vision or not _is_plain(model_config):
        raise TrainingError(
            f"{path}: towers of other libraries or layouts, expected OpenCLIP's own "
            "vision and text transformer such as ViT-bigG/14"
        )
    try:
        model = open_clip.CLIP(
            embed_dim=model_config["embed_dim"],
            vision_cfg={**vision, "output_tokens": True},
            text_cfg=text,
            quick_gelu=bool(model_config.get("quick_gelu", False)),
        )
    except (KeyError, TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise TrainingError(f"{path}: OpenCLIP cannot build this model: {error!r}") from error
    if model.context_length != bpe.CONTEXT or model.vocab_size != bpe.END_ID + 1:
        raise TrainingError(
            f"{path}: the text tower has {model.context_length} positions and "
            f"{model.vocab_size} tokens, expected {bpe.CONTEXT} and {bpe.END_ID + 1}"
        )
    _fill(model, weights_file(folder))
    return OpenClip(
        model.eval(),
        image_size=int(model.visual.image_size[0]),
        mean=list(pictures.get("mean") or MEAN),
        std=list(pictures.get("std") or STD),
    )


def _is_plain(model_config: dict[str, Any]) -> bool:
    vision, text = model_config["vision_cfg"], model_config["text_cfg"]
    return (
        isinstance(vision.get("layers"), int)
        and not vision.get("attentional_pool")
        and not model_config.get("custom_text")
        and not text.get("no_causal_mask")
        and text.get("pool_type", "argmax") == "argmax"
        and not text.get("proj_bias")
    )


def _fill(model: nn.Module, path: Path) -> None:
    weights = read_weights(path)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if missing := sorted(wanted.keys() - weights.keys()):
        raise TrainingError(
            f"{path}: {len(missing)} of {len(wanted)} weights are missing, the first is "
            f"{missing[0]}"
        )
    for name, shape in wanted.items():
        if weights[name].numel() != shape.numel():
            raise TrainingError(
                f"{path}: {name} is {list(weights[name].shape)}, expected {list(shape)} as "
                f"{CONFIG} says"
            )
    model.load_state_dict({name: weights[name].reshape(wanted[name]) for name in wanted})
