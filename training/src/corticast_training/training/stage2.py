"""The networks of stage 2 as one, so that every device passes through all of it at once."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from corticast_training.model.decoupler import Decoupler
from corticast_training.model.diffusion import CosineSchedule
from corticast_training.model.prior import Prior
from corticast_training.model.text import TextProjection


class Noise(NamedTuple):
    """How b samples were made noisy."""

    timestep: Tensor
    """i64 `[b]`."""
    keep_brain: Tensor
    """Bool `[b]`, false where the brain condition is dropped."""
    keep_image: Tensor
    """Bool `[b]`, false where the noisy image is."""


class Ask(NamedTuple):
    """What b samples are asked for."""

    states: Tensor
    """Text states of the key object, `[b, L, T]`."""
    length: Tensor
    """How many of them are real, i64 `[b]`."""
    ids: Tensor
    """Ids of the caption, i64 `[b, n]`."""


class PriorAndDecoupler(nn.Module):
    """The prior's prediction, motion on it, and the four tasks on that."""

    def __init__(
        self,
        prior: Prior,
        decoupler: Decoupler,
        projection: Tensor,
        diffusion: CosineSchedule,
        *,
        decoupled: bool,
    ) -> None:
        """`decoupled` false leaves the four tasks out, and their weights as they are."""
        super().__init__()
        self.prior, self.decoupler, self.decoupled = prior, decoupler, decoupled
        self.text, self.diffusion = TextProjection(projection), diffusion
        if not decoupled:
            for head in (decoupler.concepts, decoupler.regions, decoupler.captioner):
                head.requires_grad_(False)

    def forward(
        self, brain: Tensor, noisy: Tensor, ask: Ask, noise: Noise | None = None, steps: int = 1
    ) -> dict[str, Tensor]:
        """All that is decoded from brain tokens `[b, N, C]`.

        With `noise`, from the one-step prediction of x0 at its timesteps, as in training;
        without, from a DDIM sample in `steps` steps that starts at `noisy` `[b, N, C]`.
        """
        if noise is None:
            x0 = self.diffusion.ddim(self.prior, brain, noisy, steps)
        else:
            x0 = self.prior(noisy, noise.timestep, brain, noise.keep_brain, noise.keep_image)
        frames = self.decoupler.motion(x0)
        text = self.text(frames)
        found = {"x0": x0, "frames": frames, "text": text}
        if self.decoupled:
            said = functional.normalize(text.float(), dim=-1)
            found |= {
                "concepts": self.decoupler.concepts(frames),
                "masks": self.decoupler.objects(frames, ask.states, ask.length)[:, :, 0],
                "latents": self.decoupler.reconstruct(frames, text),
                "caption": self.decoupler.caption_logits(said, ask.ids),
            }
        return found
