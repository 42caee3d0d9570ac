"""Stage 1: the brain model, from BOLD to CLIP tokens.

Loss: BiMixCo between the brain's tokens and those of one frame, plus 0.25 x the plain
contrastive loss between text embeddings. Frame and BOLD repeat change with every epoch. BOLD
is blended (MixCo) on the CPU, from the whole batch, so that a partner may be on another device.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corticast_training.config import Stage1
from corticast_training.loss.contrastive import bimixco, info_nce
from corticast_training.loss.mixco import Mix
from corticast_training.model.brain import BrainModel
from corticast_training.training.batches import Batch, Batches
from corticast_training.training.draws import generator
from corticast_training.training.retrieval import Retrieval
from corticast_training.training.study import FRAME, Study, parts_of
from corticast_training.training.task import Task, Term


class ManySubjects(nn.Module):
    """The brain model on the samples of several subjects at once."""

    def __init__(self, brain: BrainModel, subjects: list[str]) -> None:
        super().__init__()
        self.brain, self.subjects = brain, subjects

    def forward(self, bold: list[Tensor]) -> dict[str, Tensor]:
        """BOLD `[b, S, V]` of each subject to `tokens` `[Σb, N, C]`, `text` `[Σb, T]`."""
        found = [self.brain(own, name) for own, name in zip(bold, self.subjects, strict=True)]
        return {
            "tokens": torch.cat([own.tokens for own in found]),
            "text": torch.cat([own.text for own in found]),
        }


class BrainTask(Task):
    """Stage 1 for the loop."""

    name = "brain"
    terms = ("bimixco", "text")
    metrics = ("loss", "retrieval_top1", "retrieval_top1_backward")
    shared = ("tokens", "text")
    schedule: Stage1

    def __init__(
        self,
        plan: Stage1,
        study: Study,
        brain: BrainModel,
        held_out: NDArray[np.bool_],
        n_part: int,
    ) -> None:
        """`held_out` `[n_clip]` marks the clips that the network is judged on."""
        self.schedule, self.study, self.held_out = plan, study, held_out
        self.has_validation = bool(held_out.any())
        self.network = ManySubjects(brain, [own.subject for own in study.subjects])
        self.batches = Batches(
            study.usable(held_out), size=plan.batch, n_part=n_part, seed=plan.seed, stage=self.name
        )

    def forward(self, network: nn.Module, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        """Tokens `[b, N, C]` and text `[b, T]` of blended BOLD."""
        mix, every = self._mix(batch), np.concatenate(batch.rows)
        parts = []
        for subject, (own, windows) in zip(
            self.study.subjects, parts_of(batch.rows, rows), strict=True
        ):
            bold = subject.bold(batch.epoch, windows)
            partner = subject.bold(batch.epoch, every[mix.partner[own].numpy()])
            parts.append(mix.apply(bold, partner, own).to(self.device))
        found: dict[str, Tensor] = network(parts)
        return found

    def losses(
        self, batch: Batch, rows: Tensor, outputs: dict[str, Tensor], everyone: dict[str, Tensor]
    ) -> dict[str, Term]:
        """Both contrastive losses, of the whole batch."""
        plan, mix = self.schedule, self._mix(batch)
        image = self.study.image_tokens(batch.clip, FRAME + batch.epoch % 2).to(self.device)
        text = self.study.text_embed(batch.clip).to(self.device)
        tokens = bimixco(everyone["tokens"], image, plan.temperature, mix.share, mix.partner)
        words = info_nce(everyone["text"], text, plan.text_temperature)
        return {
            "bimixco": Term(tokens, 1.0, shared=True),
            "text": Term(words, plan.text_weight, shared=True),
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Loss without blending, and retrieval among the held out clips of each subject.

        Mean over subjects and repeats, one repeat at a time, as a live session has it.
        """
        plan = self.schedule
        found: list[tuple[float, float, float]] = []
        for subject in self.study.subjects:
            rows = np.flatnonzero(self.held_out[subject.clip])
            clip = subject.clip[rows]
            image = self.study.image_tokens(clip, FRAME).to(self.device)
            text = self.study.text_embed(clip).to(self.device)
            for repeat in range(len(subject.windows)):
                tokens, words = self._embed(network, subject.subject, repeat, rows)
                loss = info_nce(tokens, image, plan.temperature)
                loss = loss + plan.text_weight * info_nce(words, text, plan.text_temperature)
                retrieval = Retrieval.of(tokens, image)
                found.append((float(loss), retrieval.forward, retrieval.backward))
        mean = np.mean(found, axis=0)
        return dict(zip(self.metrics, map(float, mean), strict=True))

    def score(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """Retrieval first; where it ties, the loss."""
        return metrics["retrieval_top1"], -metrics["loss"]

    def _embed(
        self, network: nn.Module, subject: str, repeat: int, rows: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        tokens, words = [], []
        for part in np.array_split(rows, -(-len(rows) // self.schedule.batch)):
            # Subjects without samples take part too: sharded weights are gathered by all.
            bold = [
                own.bold(repeat, part if own.subject == subject else part[:0]).to(self.device)
                for own in self.study.subjects
            ]
            found = network(bold)
            tokens.append(found["tokens"].float())
            words.append(found["text"].float())
        return torch.cat(tokens), torch.cat(words)

    def _mix(self, batch: Batch) -> Mix:
        plan = self.schedule
        rng = generator(plan.seed, self.name, batch.epoch, batch.index, "mixco")
        return Mix.draw(rng, batch.group_sizes, plan.mixco_beta)
