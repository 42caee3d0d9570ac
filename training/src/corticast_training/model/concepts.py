"""Which of the 51 classes are in a clip."""

from torch import Tensor, nn

from corticast_training.config import N_CLASS, Sizes


class Concepts(nn.Module):
    """Two linear layers on the mean token; several classes may be present at once."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.vision_proj_channel = nn.Linear(sizes.channels, sizes.text_dim)
        self.classifier = nn.Linear(sizes.text_dim, N_CLASS)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `[B, F, N, C]` to logits `[B, 51]`, whose sigmoid is each probability."""
        logits: Tensor = self.classifier(self.vision_proj_channel(frames.mean(dim=(1, 2))))
        return logits
