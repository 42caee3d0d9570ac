"""The losses of both stages, term by term, against formulas written out."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from corticast_training.config import Config
from corticast_training.model.brain import BrainModel
from corticast_training.model.diffusion import CosineSchedule
from corticast_training.training.brain import BrainTask
from corticast_training.training.checkpoint import new_decoupler
from corticast_training.training.decoupler import DecouplerTask
from corticast_training.training.read import read_study
from corticast_training.training.stage2 import PriorAndDecoupler
from corticast_training.training.study import Study as Read
from corticast_training.training.study import SubjectBold
from corticast_training.training.task import Term
from movie_study import SUBJECTS, Study

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def read(study: Study) -> Read:
    folders = {subject: study.prepared(subject) for subject in SUBJECTS}
    sizes = Config.load(str(study.config)).sizes
    return read_study(study.movie.folder, folders, study.targets, sizes)


def new_brain(config: Config, read: Read) -> BrainModel:
    torch.manual_seed(0)
    return BrainModel(config.sizes, read.n_voxel, read.window_volumes, read.projection)


def brain_task(study: Study, read: Read) -> BrainTask:
    config = Config.load(str(study.config))
    nobody = np.zeros(len(read.clips), np.bool_)
    task = BrainTask(config.brain, read, new_brain(config, read), nobody, 1)
    task.place(CPU)
    return task


def decoupler_task(study: Study, read: Read, **changes: Any) -> DecouplerTask:
    config = Config.load(str(study.config))
    config = replace(config, decoupler=replace(config.decoupler, epochs=20, **changes))
    prior, decoupler = new_decoupler(config)
    network = PriorAndDecoupler(
        prior,
        decoupler,
        read.projection,
        CosineSchedule(config.sizes.prior_steps),
        decoupled=config.decoupler.decoupled,
    )
    nobody = np.zeros(len(read.clips), np.bool_)
    task = DecouplerTask(config.decoupler, read, new_brain(config, read), network, nobody, 1)
    task.place(CPU)
    return task


def of_whole_batch(
    task: BrainTask | DecouplerTask, epoch: int
) -> tuple[dict[str, Tensor], dict[str, Term]]:
    batch = task.batches.batch(epoch, 0)
    rows = torch.arange(len(batch.clip))
    task.network.eval()
    outputs = task.forward(task.network, batch, rows)
    everyone = {name: outputs[name] for name in task.shared}
    return outputs, task.losses(batch, rows, outputs, everyone)


def unit(values: Tensor) -> Tensor:
    values = values.flatten(1)
    return torch.nn.functional.normalize(values, dim=1)


def contrastive(a: Tensor, b: Tensor, temperature: float) -> float:
    scores = unit(a) @ unit(b).T / temperature
    right = torch.arange(len(a))
    both = torch.nn.functional.cross_entropy(scores, right)
    both = both + torch.nn.functional.cross_entropy(scores.T, right)
    return both.item() / 2


def asked_for(task: BrainTask | DecouplerTask, epoch: int) -> tuple[set[int], set[int]]:
    """Frames and BOLD repeats that a step of an epoch reads."""
    frames: set[int] = set()
    repeats: set[int] = set()
    tokens, bold = Read.image_tokens, SubjectBold.bold

    def spy_tokens(self: Read, clip: Any, frame: int) -> Tensor:
        frames.add(frame)
        return tokens(self, clip, frame)

    def spy_bold(self: SubjectBold, repeat: int, rows: Any) -> Tensor:
        repeats.add(repeat % len(self.windows))
        return bold(self, repeat, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Read, "image_tokens", spy_tokens)
        patch.setattr(SubjectBold, "bold", spy_bold)
        of_whole_batch(task, epoch)
    return frames, repeats


def test_frame_and_repeat_of_stage_1_take_turns_with_the_epoch(study: Study, read: Read) -> None:
    task = brain_task(study, read)
    assert [asked_for(task, epoch) for epoch in (0, 1, 2, 5)] == [
        ({2}, {0}),
        ({3}, {1}),
        ({2}, {0}),
        ({3}, {1}),
    ]


def test_stage_1_weighs_the_text_a_quarter_and_blends_bold_by_the_losses_lambda(
    study: Study, read: Read
) -> None:
    task = brain_task(study, read)
    batch = task.batches.batch(1, 2)
    rows = torch.arange(len(batch.clip))
    mix = task._mix(batch)
    assert int((mix.share < 1).sum()) == len(rows) // 2
    task.network.eval()
    outputs = task.forward(task.network, batch, rows)
    # The first subject's own half of the batch, blended by hand with its partners.
    own = read.subjects[0]
    half = len(batch.rows[0])
    x = torch.from_numpy(own.windows[1, batch.rows[0]])
    y = torch.from_numpy(own.windows[1, batch.rows[0][mix.partner[:half].numpy()]])
    share = mix.share[:half, None, None]
    model = task.network.get_submodule("brain")
    expected = model(share * x + (1 - share) * y, own.subject)
    torch.testing.assert_close(outputs["tokens"][:half], expected.tokens)

    terms = task.losses(batch, rows, outputs, outputs)
    assert [terms[name].weight for name in ("bimixco", "text")] == [1.0, 0.25]
    image, text = read.image_tokens(batch.clip, 3), read.text_embed(batch.clip)
    assert terms["text"].value.item() == pytest.approx(
        contrastive(outputs["text"], text, 0.1), rel=1e-5
    )
    scores = unit(outputs["tokens"]) @ unit(image).T / 0.006
    wanted = torch.diag(mix.share)
    for k in range(len(rows)):
        wanted[k, mix.partner[k]] += 1 - mix.share[k]
    forward = -(wanted * scores.log_softmax(1)).sum(1).mean()
    backward = -(wanted.T * scores.T.log_softmax(1)).sum(1).mean()
    assert terms["bimixco"].value.item() == pytest.approx((forward + backward).item() / 2, rel=1e-5)


def test_stage_2_sums_the_terms_of_the_supplement(study: Study, read: Read) -> None:
    task = decoupler_task(study, read)
    epoch = 4
    outputs, terms = of_whole_batch(task, epoch)
    clip = task.batches.batch(epoch, 0).clip
    found = {name: term.value.item() for name, term in terms.items()}

    error = (outputs["x0"] - read.image_tokens(clip, 2)).square().mean()
    assert found["prior"] == pytest.approx(error.item(), rel=1e-5)
    assert found["text"] == pytest.approx(
        contrastive(outputs["text"], read.text_embed(clip), 0.1), rel=1e-5
    )
    passed = epoch / 19
    temperature = 0.0075 + (0.004 - 0.0075) * (1 + math.cos(math.pi * passed)) / 2
    teacher = unit(read.frame_tokens(clip).flatten(0, 1))
    scores = unit(outputs["frames"].flatten(0, 1)) @ teacher.T / temperature
    target = (teacher @ teacher.T / temperature).softmax(1)
    soft = -(target * (scores.log_softmax(1) + scores.T.log_softmax(1))).sum(1).mean() / 2
    assert found["clip"] == pytest.approx(soft.item(), rel=1e-5)

    probability = outputs["concepts"].sigmoid()
    label = read.labels(clip)
    bce = -(label * probability.log() + (1 - label) * (1 - probability).log()).mean()
    assert found["concepts"] == pytest.approx(bce.item(), rel=1e-4)
    distance = (outputs["latents"] - read.latents(clip)).abs().mean()
    assert found["reconstruction"] == pytest.approx(distance.item(), rel=1e-5)
    with_object = read.has_key(clip) > 0
    covered = outputs["masks"][with_object].sigmoid()
    mask = read.masks(clip)[with_object]
    bce = -(mask * covered.log() + (1 - mask) * (1 - covered).log()).mean()
    assert found["segmentation"] == pytest.approx(bce.item(), rel=1e-4)

    ids = read.caption_ids(clip)[:, : outputs["caption"].shape[1]]
    said = outputs["caption"].log_softmax(-1)
    right = said.gather(2, ids[..., None])[..., 0]
    smooth = -(0.9 * right + 0.1 * said.mean(-1))[ids != 0].mean()
    assert found["caption"] == pytest.approx(smooth.item(), rel=1e-5)

    # A period is 8 epochs; epoch 4 is the peak of the first and the start of the second.
    weights = {name: term.weight for name, term in terms.items()}
    assert weights == pytest.approx(
        {
            "prior": 30,
            "clip": 1,
            "text": 1,
            "segmentation": 10,
            "concepts": 1,
            "caption": 1,
            "reconstruction": 1,
        }
    )


def test_stage_2_reads_repeat_0_and_frame_2_in_every_epoch(study: Study, read: Read) -> None:
    task = decoupler_task(study, read)
    assert [asked_for(task, epoch) for epoch in (0, 1)] == [({2}, {0}), ({2}, {0})]


def test_gradients_of_every_task_reach_the_prior_and_none_the_brain_model(
    study: Study, read: Read
) -> None:
    task = decoupler_task(study, read)
    _, terms = of_whole_batch(task, 0)
    layer = task.network.prior.project_out.weight
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term.value, layer, retain_graph=True)
        assert float(gradient.abs().sum()) > 0, name
    assert not any(parameter.requires_grad for parameter in task.brain.parameters())
    assert not task.brain.training
    assert decoupler_task(study, read, backbone_dropout=True).brain.training


def test_dice_is_offered_and_counts_only_clips_with_a_key_object(study: Study, read: Read) -> None:
    task = decoupler_task(study, read, segmentation_loss="dice")
    outputs, terms = of_whole_batch(task, 0)
    clip = task.batches.batch(0, 0).clip
    values = []
    for said, mask, there in zip(
        outputs["masks"].sigmoid(), read.masks(clip), read.has_key(clip), strict=True
    ):
        if there > 0:
            overlap = 2 * (said * mask).sum() + 1e-7
            values.append((1 - overlap / (said.sum() + mask.sum() + 1e-7)).item())
    assert terms["segmentation"].value.item() == pytest.approx(np.mean(values), rel=1e-5)


def test_keys_of_the_batch_are_the_pooled_names_in_training_too(study: Study, read: Read) -> None:
    task = decoupler_task(study, read, text_keys="batch", ask_by_class=0.0)
    given: list[Tensor] = []
    inner = task.network.decoupler.regions.objects

    def spy(frames: Tensor, states: Tensor, length: Tensor | None = None) -> Tensor:
        given.append(states)
        found: Tensor = inner(frames, states, length)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task.network.decoupler.regions, "objects", spy)
        of_whole_batch(task, 0)
    clip = task.batches.batch(0, 0).clip
    name = np.maximum(read.targets.train.key_name[clip], 0)
    torch.testing.assert_close(given[0][:, 0], torch.from_numpy(read.targets.pooled[name].copy()))
    assert given[0].shape[1] == 1


def test_masks_are_asked_for_by_class_or_name_as_often_as_said(study: Study, read: Read) -> None:
    clips = np.flatnonzero(read.targets.train.key_name >= 0)
    by_name, _ = read.key_states(clips, np.zeros(len(clips), np.bool_), "tokens")
    by_class, length = read.key_states(clips, np.ones(len(clips), np.bool_), "tokens")
    names = [read.targets.names[row] for row in read.targets.train.key_name[clips]]
    objects = [study.movie.clips("train")[clip].key_object for clip in clips]
    assert names == objects
    classes = [study.movie.clips("train")[clip].key_class for clip in clips]
    for k, name in enumerate(classes):
        row = read.targets.names.index(str(name))
        torch.testing.assert_close(by_class[k], torch.from_numpy(read.targets.states[row].copy()))
        assert int(length[k]) == read.targets.length[row]
    assert (by_name != by_class).any()


def test_progressive_learning_can_be_left_out(study: Study, read: Read) -> None:
    _, terms = of_whole_batch(decoupler_task(study, read, progressive=False), 4)
    assert {terms[name].weight for name in ("segmentation", "concepts", "caption")} == {1.0}
