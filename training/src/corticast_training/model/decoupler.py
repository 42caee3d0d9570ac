"""The decoupler: from the prior's tokens to the four tasks' outputs for a clip.

```text
tokens [B, N, C] ── motion ── frames [B, F, N, C] ─┬─ concepts ──── 51 logits
                                                   ├─ objects ───── mask logits    (asked by a name)
                                                   ├─ reconstruct ─ VAE latents
                                                   └─ (text.py) ── text ── caption
```
"""

from torch import Tensor, nn

from corticast_training.config import Sizes
from corticast_training.model.captioner import Captioner
from corticast_training.model.concepts import Concepts
from corticast_training.model.motion import Motion
from corticast_training.model.regions import Regions


class Decoupler(nn.Module):
    """Motion projection and the heads of the four tasks."""

    def __init__(
        self,
        sizes: Sizes,
        *,
        attention_dropout: float = 0.1,
        decoder_dropout: float = 0.3,
        caption_dropout: float = 0.1,
        text_keys: str = "tokens",
    ) -> None:
        super().__init__()
        self.motion = Motion(sizes)
        self.concepts = Concepts(sizes)
        self.regions = Regions(
            sizes,
            attention_dropout=attention_dropout,
            decoder_dropout=decoder_dropout,
            text_keys=text_keys,
        )
        self.captioner = Captioner(sizes, dropout=caption_dropout)

    def objects(self, frames: Tensor, states: Tensor, length: Tensor | None = None) -> Tensor:
        """Mask logits `[B, F, 1, m, m]` of the object that the text `[B, L, T]` names.

        Frames are `[B, F, N, C]`; of a text's states only the first `length`, i64 `[B]`, count.
        """
        return self.regions.objects(frames, states, length)

    def reconstruct(self, frames: Tensor, text: Tensor) -> Tensor:
        """VAE latents `[B, F, 4, l, l]` of frames `[B, F, N, C]`, text `[B, T]` unnormalised."""
        return self.regions.reconstruct(frames, text)

    def caption_logits(self, text: Tensor, ids: Tensor) -> Tensor:
        """Logits `[B, n, vocabulary]` of `ids`, i64 `[B, n]`, for L2-normalised text `[B, T]`."""
        logits: Tensor = self.captioner(text, ids)
        return logits

    def caption_greedy(self, text: Tensor, max_tokens: int) -> list[list[int]]:
        """Captions of L2-normalised text `[B, T]` as ids, the stop id included."""
        return self.captioner.greedy(text, max_tokens)
