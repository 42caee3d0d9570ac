import dataclasses
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from corticast_training.config import Config
from corticast_training.errors import TrainingError
from corticast_training.model.backbone import Backbone
from corticast_training.model.brain import BrainModel
from corticast_training.model.decoupler import Decoupler
from corticast_training.model.motion import Motion
from corticast_training.model.text import TextProjection
from corticast_training.model.video_decoder import ResidualBlock, SelfAttention, VideoDecoder

TINY = Config.load("tiny").sizes


def decoupler(text_keys: str = "tokens") -> Decoupler:
    torch.manual_seed(0)
    made = Decoupler(TINY, text_keys=text_keys).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            # Away from where training starts, so that attention in time has a say.
            if ".weights." in name:
                parameter.fill_(0.4)
    return made


def clips(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames, states of names, their lengths, text embeddings."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, TINY.n_frame, TINY.n_token, TINY.channels)
    frames = torch.randn(shape, generator=generator)
    states = torch.randn(n, 5, TINY.text_dim, generator=generator)
    length = torch.tensor([3, 5, 4, 3])[:n]
    return frames, states, length, torch.randn(n, TINY.text_dim, generator=generator)


@torch.no_grad()
def outputs(
    made: Decoupler, frames: Tensor, states: Tensor, length: Tensor, text: Tensor
) -> dict[str, Tensor]:
    return {
        "objects": made.objects(frames, states, length),
        "reconstruct": made.reconstruct(frames, text),
        "concepts": made.concepts(frames),
        "caption": made.caption_logits(text, torch.arange(4).expand(len(text), 4)),
    }


def test_shapes_are_those_of_the_sizes() -> None:
    frames, _states, _length, _text = clips(2)
    made = decoupler()
    found = {name: tuple(x.shape) for name, x in outputs(made, *clips(2)).items()}
    m, l_ = TINY.mask, TINY.latent
    assert found == {
        "objects": (2, TINY.n_frame, 1, m, m),
        "reconstruct": (2, TINY.n_frame, 4, l_, l_),
        "concepts": (2, 51),
        "caption": (2, 4, 50257),
    }
    assert made.motion(frames[:, 0]).shape == frames.shape


def test_what_a_clip_gives_does_not_depend_on_its_batch() -> None:
    made = decoupler()
    together = outputs(made, *clips(4))
    for index in range(4):
        alone = outputs(made, *(x[[index]] for x in clips(4)))
        for name, x in together.items():
            torch.testing.assert_close(x[[index]], alone[name], rtol=1e-4, atol=1e-5, msg=name)


def test_masks_and_latents_follow_one_token_of_one_frame_at_batch_1() -> None:
    made = decoupler()
    frames, states, length, text = clips(1)
    changed = frames.clone()
    changed[0, 2, 5] += 1.0
    before = outputs(made, frames, states, length, text)
    after = outputs(made, changed, states, length, text)
    for name in ("objects", "reconstruct"):
        difference = (before[name] - after[name])[0].abs().amax(dim=(1, 2, 3))
        assert difference[2] > 1e-3, name
        # Attention in time carries it to the other frames as well, more weakly.
        assert (difference[[0, 1, 3, 4, 5]] > 0).all(), name
        assert (difference[[0, 1, 3, 4, 5]] < difference[2]).all(), name


def test_masks_and_latents_change_most_where_the_token_is() -> None:
    made = decoupler()
    frames, states, length, text = clips(1)
    changed = frames.clone()
    changed[0, 0, 0] += 2.0
    before = outputs(made, frames, states, length, text)
    after = outputs(made, changed, states, length, text)
    for name in ("objects", "reconstruct"):
        difference = (before[name] - after[name])[0, 0].abs().mean(dim=0)
        half = len(difference) // 2
        assert difference[:half, :half].mean() > 1.5 * difference[half:, half:].mean(), name


def test_padding_of_a_names_states_does_not_matter() -> None:
    made = decoupler()
    frames, states, length, _text = clips(3)
    spoiled = torch.cat((states, torch.full((3, 4, TINY.text_dim), 99.0)), dim=1)
    for index, real in enumerate(length.tolist()):
        spoiled[index, real:] = -50.0
    with torch.no_grad():
        torch.testing.assert_close(
            made.objects(frames, states, length), made.objects(frames, spoiled, length)
        )
        # Without padding no length is needed.
        exact = made.objects(frames[:1], states[:1, :3])
        torch.testing.assert_close(made.objects(frames[:1], states[:1], length[:1]), exact)


def test_masks_depend_on_the_name() -> None:
    made = decoupler()
    frames, states, length, text = clips(1)
    before = outputs(made, frames, states, length, text)
    after = outputs(made, frames, states + 1.0, length, text + 1.0)
    for name in ("objects", "reconstruct"):
        assert (before[name] - after[name]).abs().max() > 1e-3


def test_keys_of_the_batch_are_the_public_behaviour_and_depend_on_the_batch() -> None:
    made = decoupler("batch")
    frames, states, _length, text = clips(2)
    with torch.no_grad():
        together = made.objects(frames, states[:, :1])
        beside = made.objects(frames, torch.cat((states[:1, :1], states[1:, 1:2])))
        assert (together[0] - beside[0]).abs().max() > 1e-4
        # One clip: one key, and every token of every frame gets the same of it.
        q_dead = made.objects(frames[:1], states[:1, :1])
        torch.testing.assert_close(q_dead, made.objects(frames[1:], states[:1, :1]))
        latents = made.reconstruct(frames[:1], text[:1])
        torch.testing.assert_close(latents, made.reconstruct(frames[1:], text[:1]))


def test_an_unknown_kind_of_keys_is_refused() -> None:
    with pytest.raises(TrainingError, match="expected tokens or batch"):
        Decoupler(TINY, text_keys="words")


def test_dropout_is_what_was_asked_for() -> None:
    made = Decoupler(TINY, attention_dropout=0.2, decoder_dropout=0.4, caption_dropout=0.05)
    found = {m.p for m in made.modules() if isinstance(m, nn.Dropout)}
    assert found == {0.2, 0.4, 0.05}
    frames, states, length, _text = clips(2)
    still = Decoupler(TINY, attention_dropout=0, decoder_dropout=0, caption_dropout=0).train()
    with torch.no_grad():
        torch.testing.assert_close(
            still.objects(frames, states, length), still.objects(frames, states, length)
        )


def test_each_branch_of_the_mixer_adds_its_own_previous_output() -> None:
    backbone = Backbone(TINY, 3)
    with torch.no_grad():
        for blocks, value in ((backbone.mixer_blocks1, 0.5), (backbone.mixer_blocks2, 0.25)):
            for block in blocks:
                assert isinstance(block, nn.Sequential)
                mlp = block[1]
                assert isinstance(mlp, nn.Sequential)
                last = mlp[3]
                assert isinstance(last, nn.Linear)
                last.weight.zero_()
                last.bias.fill_(value)
    features = torch.randn(2, 3, TINY.hidden)
    # The branch over volumes never takes over what the branch over features adds: 0.5 is absent.
    expected = features + TINY.n_block * 0.25
    torch.testing.assert_close(backbone.mix(features), expected)


def test_the_mixer_lets_volumes_and_features_see_each_other() -> None:
    torch.manual_seed(0)
    backbone = Backbone(TINY, 3).eval()
    features = torch.randn(1, 3, TINY.hidden)
    changed = features.clone()
    changed[0, 2, 7] += 1.0
    difference = (backbone.mix(features) - backbone.mix(changed)).abs()
    assert (difference > 0).all()


def test_of_a_single_volume_the_blocks_over_features_have_no_say_as_published() -> None:
    torch.manual_seed(0)
    for volumes, expected in ((1, True), (2, False)):
        made = Backbone(TINY, volumes).eval()
        features = torch.randn(3, volumes, TINY.hidden)
        with torch.no_grad():
            before = made.mix(features)
            for parameter in made.mixer_blocks1.parameters():
                parameter.add_(1.0)
            after = made.mix(features)
            shift = before - features
        assert torch.equal(before, after) == expected
        # One volume is only shifted, every feature and every sample by the same.
        assert bool(((shift - shift[0, 0, 0]).abs() < 1e-5).all()) == expected


def test_subjects_have_ridges_of_their_own_and_share_the_rest() -> None:
    torch.manual_seed(0)
    proj = torch.randn(TINY.channels, TINY.text_dim)
    brain = BrainModel(TINY, {"01": 30, "02": 20}, 2, proj).eval()
    assert brain.ridge.subjects == ["01", "02"]
    for subject, n_voxel in (("01", 30), ("02", 20)):
        out = brain(torch.randn(4, 2, n_voxel), subject)
        assert out.voxels_embed.shape == out.tokens.shape == (4, TINY.n_token, TINY.channels)
        torch.testing.assert_close(out.text, out.tokens.mean(dim=1) @ proj)
    out.tokens.sum().backward()
    grads = {name for name, p in brain.named_parameters() if p.grad is not None}
    assert not any("sub-01" in name for name in grads)
    assert any("sub-02" in name for name in grads)
    assert brain.text.proj.requires_grad is False
    with pytest.raises(TrainingError, match="'03' is not in the model, expected one of 01, 02"):
        brain(torch.randn(1, 2, 20), "03")


def test_a_projection_of_another_size_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"is \[3, 4\], expected"):
        BrainModel(TINY, {"01": 5}, 1, torch.zeros(3, 4))


def test_text_of_frames_is_the_text_of_their_mean() -> None:
    text = TextProjection(torch.randn(TINY.channels, TINY.text_dim))
    frames = clips(2)[0]
    torch.testing.assert_close(text(frames), text(frames.mean(dim=1)), rtol=1e-4, atol=1e-5)


def test_the_frame_is_the_faster_axis_of_the_motion_projection() -> None:
    motion = Motion(TINY)
    with torch.no_grad():
        motion.proj.weight.zero_()
        motion.proj.bias.copy_(torch.arange(TINY.channels * TINY.n_frame))
    frames = motion(torch.zeros(1, TINY.n_token, TINY.channels))
    assert frames[0, 3, 0, 2] == 2 * TINY.n_frame + 3


def test_blocks_of_the_video_decoder_are_those_of_diffusers() -> None:
    # The published decoder is put together from these.
    torch.manual_seed(0)
    no_time: Any = None
    theirs = ResnetBlock2D(
        in_channels=16, out_channels=8, temb_channels=no_time, groups=4, eps=1e-6
    ).eval()
    ours = ResidualBlock(16, 8, 4)
    ours.load_state_dict(theirs.state_dict())
    maps = torch.randn(3, 16, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(ours(maps), theirs(maps, None))

    attention = Attention(
        8,
        heads=1,
        dim_head=8,
        rescale_output_factor=1,
        eps=1e-6,
        norm_num_groups=4,
        residual_connection=True,
        bias=True,
        upcast_softmax=True,
        _from_deprecated_attn_block=True,
    ).eval()
    own = SelfAttention(8, 4)
    own.load_state_dict(attention.state_dict())
    maps = torch.randn(3, 8, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(
            own(maps.flatten(2)).unflatten(2, (6, 6)), attention(maps), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            own(maps.flatten(2)).transpose(1, 2),
            attention(maps.flatten(2).transpose(1, 2)),
            rtol=1e-4,
            atol=1e-5,
        )


def test_norms_have_the_published_groups_at_the_papers_channels() -> None:
    decoder = VideoDecoder(64, (128, 64, 32))
    groups = {m.num_groups for m in decoder.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {32}


def test_frames_that_are_equal_stay_equal() -> None:
    made = decoupler()
    frames, states, length, _text = clips(1)
    frames = frames[:, :1].expand_as(frames).contiguous()
    with torch.no_grad():
        masks = made.objects(frames, states, length)
    torch.testing.assert_close(masks, masks[:, :1].expand_as(masks), rtol=1e-4, atol=1e-5)


def test_other_frames_and_sizes_work() -> None:
    sizes = dataclasses.replace(TINY, n_frame=4, n_token=9, latent=6, up_channels=(12, 6))
    torch.manual_seed(0)
    made = Decoupler(sizes).eval()
    frames = torch.randn(2, 4, 9, sizes.channels)
    with torch.no_grad():
        assert made.objects(frames, torch.randn(2, 3, sizes.text_dim)).shape == (2, 4, 1, 6, 6)
        assert made.reconstruct(frames, torch.randn(2, sizes.text_dim)).shape == (2, 4, 4, 6, 6)


@pytest.mark.parametrize(("key", "value"), [("channels", 33), ("prior_dim_head", 15)])
def test_sizes_that_a_network_cannot_have_are_refused(key: str, value: int) -> None:
    with pytest.raises(TrainingError, match=f"{key} is {value}, expected an even number"):
        Config.load("tiny", {f"sizes.{key}": value})
