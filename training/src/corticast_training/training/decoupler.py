"""Stage 2: the diffusion prior and the decoupler, on a brain model whose weights are frozen.

total = 30·L_prior + L_clip + L_text + w₀·L_segmentation + w₁·L_concepts + w₂·L_caption
+ w₃·L_reconstruction, the weights by `loss.progressive`. Motion and all tasks start from the
prior's one-step prediction of x0 at the random timestep of the step, and their gradient goes
into the prior. BOLD repeat 0, target frame 2, no MixCo.

Losses that are means over samples are given as a part's share of the mean over the whole batch;
only clips with a key object count for segmentation, and only ids of a caption for captions.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from corticast_training.config import Stage2
from corticast_training.errors import TrainingError
from corticast_training.loss import progressive
from corticast_training.loss.contrastive import info_nce, soft_clip
from corticast_training.loss.schedules import cosine_anneal
from corticast_training.loss.segmentation import LOSSES, bce, dice
from corticast_training.model.brain import BrainModel
from corticast_training.training.batches import Batch, Batches
from corticast_training.training.brain import ManySubjects
from corticast_training.training.draws import generator
from corticast_training.training.judge import COUNTED, METRICS, TOKEN_METRICS, judge_subject
from corticast_training.training.stage2 import Ask, Noise, PriorAndDecoupler
from corticast_training.training.study import FRAME, Study, parts_of
from corticast_training.training.task import Task, Term

REPEAT = 0


class DecouplerTask(Task):
    """Stage 2 for the loop."""

    name = "decoupler"
    shared = ("frames", "text")
    schedule: Stage2
    network: PriorAndDecoupler

    def __init__(
        self,
        plan: Stage2,
        study: Study,
        brain: BrainModel,
        network: PriorAndDecoupler,
        held_out: NDArray[np.bool_],
        n_part: int,
    ) -> None:
        """`brain` stays as it is; `held_out` `[n_clip]` marks the clips it is judged on."""
        if plan.segmentation_loss not in LOSSES:
            raise TrainingError(
                f"decoupler.segmentation_loss is {plan.segmentation_loss!r}, "
                f"expected {' or '.join(LOSSES)}"
            )
        self.schedule, self.study, self.held_out = plan, study, held_out
        self.has_validation = bool(held_out.any())
        self.terms = ("prior", "clip", "text")
        self.metrics: tuple[str, ...] = TOKEN_METRICS
        if plan.decoupled:
            self.terms += progressive.TASKS
            self.metrics = METRICS
        self.brain = ManySubjects(brain.requires_grad_(False), [s.subject for s in study.subjects])
        self.brain.train(plan.backbone_dropout)
        self.network = network
        self.batches = Batches(
            study.usable(held_out), size=plan.batch, n_part=n_part, seed=plan.seed, stage=self.name
        )

    def place(self, device: torch.device) -> None:
        """The frozen brain model goes beside the network."""
        super().place(device)
        self.brain.to(device)

    def forward(self, network: nn.Module, batch: Batch, rows: Tensor) -> dict[str, Tensor]:
        """The outputs of `PriorAndDecoupler` for samples `rows`."""
        parts = zip(self.study.subjects, parts_of(batch.rows, rows), strict=True)
        brain = self._decode([own.bold(REPEAT, windows) for own, (_, windows) in parts])
        clip = batch.clip[rows.numpy()]
        timestep, noise, kept, by_class = self._draw(batch)
        image = self.study.image_tokens(clip, FRAME)
        noisy = self.network.diffusion.q_sample(image, timestep[rows], noise[rows])
        states, length = self.study.key_states(
            clip, by_class[rows.numpy()], self.schedule.text_keys
        )
        # Captions are padded to 60 ids: what no caption of the batch uses is left out.
        longest = int((self.study.caption_ids(batch.clip) != 0).sum(1).max())
        ids = self.study.caption_ids(clip)[:, : max(longest, 1)]
        found: dict[str, Tensor] = network(
            brain,
            noisy.to(self.device),
            Ask(*self._moved(states, length, ids)),
            Noise(*self._moved(timestep[rows], kept[0, rows], kept[1, rows])),
        )
        return found

    def _moved(self, *tensors: Tensor) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in tensors]

    def _decode(self, windows: list[Tensor]) -> Tensor:
        """Brain tokens `[Σb, N, C]` of BOLD `[b, S, V]` of every subject."""
        with torch.no_grad():
            tokens: Tensor = self.brain(self._moved(*windows))["tokens"]
        return tokens

    def _draw(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, NDArray[np.bool_]]:
        """Timesteps `[B]`, noise `[B, N, C]`, kept conditions `[2, B]`, asked by class `[B]`."""
        plan, n = self.schedule, len(batch.clip)
        rng = generator(plan.seed, self.name, batch.epoch, batch.index, "diffusion")
        timestep = torch.from_numpy(rng.integers(self.network.diffusion.steps, size=n))
        kept = torch.from_numpy(rng.random((2, n)) >= plan.drop_condition)
        by_class = rng.random(n) < plan.ask_by_class
        shape = (n, *self.study.targets.train.image_tokens.shape[2:])
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        return timestep, noise, kept, by_class

    def losses(
        self, batch: Batch, rows: Tensor, outputs: dict[str, Tensor], everyone: dict[str, Tensor]
    ) -> dict[str, Term]:
        """Prior, contrastive losses over all B·F frames and B texts, and the four tasks."""
        plan, study, device = self.schedule, self.study, self.device
        n, clip = len(batch.clip), batch.clip[rows.numpy()]
        temperature = cosine_anneal(
            plan.soft_temperature_start, plan.soft_temperature_end, batch.epoch, plan.epochs
        )
        truth = study.image_tokens(clip, FRAME).to(device)
        error = (outputs["x0"].float() - truth).square().flatten(1).mean(1)
        frames = study.frame_tokens(batch.clip).to(device).flatten(0, 1)
        clip_loss = soft_clip(everyone["frames"].flatten(0, 1), frames, temperature)
        text = study.text_embed(batch.clip).to(device)
        text_loss = info_nce(everyone["text"], text, plan.text_temperature)
        terms = {
            "prior": Term(error.sum() / n, plan.prior_weight, shared=False),
            "clip": Term(clip_loss, 1.0, shared=True),
            "text": Term(text_loss, 1.0, shared=True),
        }
        if plan.decoupled:
            weights = progressive.weights(batch.epoch, plan.epochs)
            for name, value in self._tasks(batch, clip, outputs).items():
                weight = weights[name] if plan.progressive else 1.0
                terms[name] = Term(value, weight, shared=False)
        return terms

    def _tasks(
        self, batch: Batch, clip: NDArray[np.int64], outputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        plan, study, device = self.schedule, self.study, self.device
        n = len(batch.clip)
        n_object = max(1, int(study.has_key(batch.clip).sum()))
        n_id = max(1, int((study.caption_ids(batch.clip) != 0).sum()))
        segmentation = bce if plan.segmentation_loss == "bce" else dice
        mask_loss = segmentation(outputs["masks"], study.masks(clip).to(device))
        concept_loss = functional.binary_cross_entropy_with_logits(
            outputs["concepts"].float(), study.labels(clip).to(device), reduction="none"
        )
        logits = outputs["caption"].float()
        caption_loss = functional.cross_entropy(
            logits.flatten(0, 1),
            study.caption_ids(clip)[:, : logits.shape[1]].to(device).flatten(),
            ignore_index=0,
            label_smoothing=plan.label_smoothing,
            reduction="sum",
        )
        latent_loss = (outputs["latents"].float() - study.latents(clip).to(device)).abs()
        return {
            "segmentation": (mask_loss * study.has_key(clip).to(device)).sum() / n_object,
            "concepts": concept_loss.mean(1).sum() / n,
            "caption": caption_loss / n_id,
            "reconstruction": latent_loss.flatten(1).mean(1).sum() / n,
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Decodes the held out clips as a live session would; mean over subjects and repeats."""
        self.brain.eval()
        found = []
        for index, subject in enumerate(self.study.subjects):
            rows = np.flatnonzero(self.held_out[subject.clip])
            for repeat in range(len(subject.windows)):
                tokens = []
                for part in np.array_split(rows, -(-len(rows) // self.schedule.batch)):
                    windows = [own.bold(repeat, part[:0]) for own in self.study.subjects]
                    windows[index] = subject.bold(repeat, part)
                    tokens.append(self._decode(windows))
                found.append(
                    judge_subject(network, self.study, subject, rows, tokens, self.schedule)
                )
        self.brain.train(self.schedule.backbone_dropout)
        # A metric that no clip has something for, such as masks without key objects, is left out.
        mean = {name: float(np.mean([own[name] for own in found])) for name in self.metrics}
        return {name: value for name, value in mean.items() if not math.isnan(value)}

    def score(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """The mean of what can be counted; where it ties, how near the tokens are."""
        counted = [metrics[name] for name in COUNTED if name in metrics]
        return sum(counted) / len(counted), -metrics["token_error"]
