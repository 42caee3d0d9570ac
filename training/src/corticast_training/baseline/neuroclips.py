"""`neuroclips-like`: NEURONS trained without its four decoupled tasks.

After Gong et al. 2024 (NeuroClips, arXiv:2410.19452): a brain model, a diffusion prior on its
tokens and motion, and nothing that decodes objects, concepts or captions. Figures exist for the
tokens of the brain model and of the prior only.

Nothing is fitted here: `brain` and `decoupler` train it, with `--set decoupler.decoupled=false`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corticast_training.baseline.answer import Answer
from corticast_training.data.prepared import BINDING, PreparedData
from corticast_training.errors import TrainingError
from corticast_training.model.diffusion import CosineSchedule
from corticast_training.targets.store import Targets
from corticast_training.training.checkpoint import load_decoupler
from corticast_training.training.draws import generator

DIFFERENCE = (
    "NEURONS trained without segmentation, concepts, captions and reconstruction, instead of "
    "NeuroClips' own networks: no perception reconstructor, hence no blurry video and no pictures; "
    "no captions, which NeuroClips reads off its keyframes"
)


class NeuroClipsLike:
    """A stage 2 folder's networks, sampled as live: all steps of the prior."""

    def __init__(self, folder: Path, subject: str, window: tuple[int, int], seed: int) -> None:
        """`window` is S and V. Raises `TrainingError` where the model has decoupled tasks."""
        brain, prior, _, config, facts = load_decoupler(folder)
        if config.decoupler.decoupled:
            raise TrainingError(
                f"{folder}: is NEURONS with its decoupled tasks, expected a model trained with "
                "--set decoupler.decoupled=false"
            )
        known = {own["subject"]: own for own in facts["subject"]}
        if subject not in known:
            raise TrainingError(f"{folder}: knows no subject {subject}, it has {', '.join(known)}")
        self.folder, self.subject, self.window, self.seed = folder, subject, window, seed
        self._facts, self._own = facts, known[subject]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._brain, self._prior = brain.to(self._device), prior.to(self._device)
        self._schedule = CosineSchedule(config.sizes.prior_steps)
        # Drawn on the CPU, block after block in the order of the runs: the same on every device.
        first = generator(seed, "neuroclips-like").integers(2**63 - 1)
        self._draws = torch.Generator().manual_seed(int(first))

    def check(self, prepared: PreparedData, targets: Targets) -> None:
        """Raises `TrainingError` where the model was trained on other voxels or targets."""
        for section in BINDING:
            found, own = getattr(prepared, section), self._own.get(section, {})
            # A stage that only one of the two has differs.
            keys = found.keys() | own.keys() if section == "stages" else found.keys() & own.keys()
            for key in sorted(keys):
                value, before = found.get(key), own.get(key)
                if before != value:
                    raise TrainingError(
                        f"subject {self.subject}: prepared with {section}.{key} = {value!r}, "
                        f"{self.folder} was trained with {before!r}"
                    )
        if self._facts["targets"]["sha256"] != targets.sha256:
            raise TrainingError(
                f"{targets.folder}: other targets than those of {self.folder}, expected sha256 "
                f"{self._facts['targets']['sha256']}, found {targets.sha256}"
            )

    @torch.inference_mode()
    def decode(self, windows: NDArray[np.float32]) -> list[Answer]:
        """Answers to windows `[b, D]`."""
        bold = torch.from_numpy(windows.reshape(-1, *self.window)).to(self._device)
        brain = self._brain(bold, self.subject).tokens
        start = torch.randn(brain.shape, generator=self._draws).to(brain)
        x0 = self._schedule.ddpm(self._prior, brain, start, self._draws)
        pairs = zip(brain.float().cpu().numpy(), x0.float().cpu().numpy(), strict=True)
        return [Answer(tokens=own, prior_tokens=sampled) for own, sampled in pairs]

    def facts(self) -> dict[str, Any]:
        """What it was trained to, for `baseline.toml`."""
        return {"seed": self.seed, "prior_steps": self._schedule.steps} | {
            key: self._facts["reached"][key] for key in ("epoch", "step")
        }
