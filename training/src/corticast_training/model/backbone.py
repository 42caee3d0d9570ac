"""The shared backbone: from a window of any subject's hidden features to image tokens.

MindEye2's MLP mixer (Scotti et al. 2024), which NEURONS uses unchanged. Two branches alternate, one
over features, one over the volumes of a window. Each adds *its own* previous output, not its
input:

```text
x ── features ──(+)── volumes ──(+)── features ──(+)── ...
└────────────────┘      │           │
└───────(transposed)────┘           │   the first time, both add the input
                 └──────────────────┘
```

With one volume per window, the second branch normalises over a single number: the branch is a
constant shift, and the output of the first branch before it is lost. The mixer blocks then have no
effect and no gradient, and the backbone is linear up to `clip_proj`. The same is true of MindEye2
and NEURONS. The blocks stay because published weights contain them, and because they have an
effect with more volumes.
"""

from torch import Tensor, nn

from corticast_training.config import Sizes


class Backbone(nn.Module):
    """Hidden features `[B, S, H]` to image tokens, before and after `clip_proj`."""

    def __init__(self, sizes: Sizes, window_volumes: int) -> None:
        super().__init__()
        hidden, channels = sizes.hidden, sizes.channels
        self.n_token = sizes.n_token
        self.mixer_blocks1 = nn.ModuleList(
            mixer_block(hidden, sizes.dropout) for _ in range(sizes.n_block)
        )
        self.mixer_blocks2 = nn.ModuleList(
            mixer_block(window_volumes, sizes.dropout) for _ in range(sizes.n_block)
        )
        self.backbone_linear = nn.Linear(hidden * window_volumes, sizes.n_token * channels)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.LayerNorm(channels), nn.GELU(), nn.Linear(channels, channels)]
        self.clip_proj = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, S, H]` to `voxels_embed` and the brain's CLIP tokens, both `[B, N, C]`."""
        mixed = self.mix(features).flatten(1)
        voxels_embed: Tensor = self.backbone_linear(mixed).unflatten(1, (self.n_token, -1))
        return voxels_embed, self.clip_proj(voxels_embed)

    def mix(self, features: Tensor) -> Tensor:
        """The mixer blocks, `[B, S, H]` to `[B, S, H]`."""
        of_features, of_volumes = features, features.transpose(1, 2)
        for over_features, over_volumes in zip(self.mixer_blocks1, self.mixer_blocks2, strict=True):
            of_features = over_features(features) + of_features
            of_volumes = over_volumes(of_features.transpose(1, 2)) + of_volumes
            features = of_volumes.transpose(1, 2)
        return features


def mixer_block(width: int, dropout: float) -> nn.Sequential:
    """LayerNorm and a two-layer perceptron over the last axis."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Sequential(
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        ),
    )
