"""From image tokens to a text embedding, by a fixed projection that is never trained."""

from torch import Tensor, nn

from corticast_training.errors import TrainingError


class TextProjection(nn.Module):
    """The mean token times a fixed matrix, fitted once on captioned pictures."""

    proj: Tensor

    def __init__(self, projection: Tensor) -> None:
        super().__init__()
        self.register_buffer("proj", projection.detach().clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B, N, C]`, or every frame's `[B, F, N, C]`, to unnormalised text `[B, T]`."""
        mean: Tensor = tokens.flatten(1, -2).mean(dim=1)
        return mean @ self.proj


def check_projection(projection: Tensor, channels: int, text_dim: int) -> None:
    """Raises `TrainingError` if the matrix is not `[C, T]`."""
    if tuple(projection.shape) != (channels, text_dim):
        raise TrainingError(
            f"the text projection is {list(projection.shape)}, "
            f"expected [channels, text_dim] = {[channels, text_dim]}"
        )
