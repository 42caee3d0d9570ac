"""The brain model: from a window of BOLD to the CLIP tokens of the stimulus.

```text
bold [B, S, V] ── ridge ── [B, S, H] ── backbone ── voxels_embed ── clip_proj ── tokens [B, N, C]
                  (per subject)                       [B, N, C]                    └ text [B, T]
```
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from corticast_training.config import Sizes
from corticast_training.model.backbone import Backbone
from corticast_training.model.ridge import Ridge
from corticast_training.model.text import TextProjection, check_projection


class BrainOutput(NamedTuple):
    """The brain model's output for a window."""

    voxels_embed: Tensor
    """The backbone's output before `clip_proj`. `[B, N, C]`."""
    tokens: Tensor
    """e_x: the brain's CLIP image tokens. `[B, N, C]`."""
    text: Tensor
    """The brain's text embedding, unnormalised. `[B, T]`."""


class BrainModel(nn.Module):
    """A ridge per subject, the shared backbone and the fixed text projection."""

    def __init__(
        self,
        sizes: Sizes,
        n_voxel: Mapping[str, int],
        window_volumes: int,
        projection: Tensor,
    ) -> None:
        """`projection` is the fixed matrix `[C, T]` of `model.text`."""
        super().__init__()
        check_projection(projection, sizes.channels, sizes.text_dim)
        self.ridge = Ridge(n_voxel, sizes.hidden)
        self.backbone = Backbone(sizes, window_volumes)
        self.text = TextProjection(projection)

    def forward(self, bold: Tensor, subject: str) -> BrainOutput:
        """Normalised BOLD `[B, S, V]` of one subject, oldest volume first."""
        voxels_embed, tokens = self.backbone(self.ridge(bold, subject))
        return BrainOutput(voxels_embed, tokens, self.text(tokens))
