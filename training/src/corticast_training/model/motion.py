"""From one set of image tokens to one set per frame of the clip."""

from torch import Tensor, nn

from corticast_training.config import Sizes


class Motion(nn.Module):
    """`Linear(C → C·F)` of each token; in its outputs the frame is the faster axis."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.n_frame = sizes.n_frame
        self.proj = nn.Linear(sizes.channels, sizes.channels * sizes.n_frame)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `[B, N, C]` to frames `[B, F, N, C]`."""
        frames: Tensor = self.proj(tokens).unflatten(-1, (-1, self.n_frame))
        return frames.permute(0, 3, 1, 2)
