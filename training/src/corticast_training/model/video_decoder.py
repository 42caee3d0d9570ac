"""The up-sampling decoder of frames: an image decoder whose frames also attend to each other.

A mid block, then up blocks, with two residual blocks each. Every level attends in space, within
a frame, and in time, between the frames of a clip at one place. A learned scalar w mixes the
two: `w · space + (1 - w) · time`, and starts at 1. Names are those of the published weights.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6


class VideoDecoder(nn.Module):
    """Maps of frames, up-sampled by 2 after every up block but the last."""

    def __init__(self, in_channels: int, up_channels: tuple[int, ...]) -> None:
        super().__init__()
        widest = up_channels[0]
        # 32 groups at the paper's 128 channels.
        groups = max(1, widest // 4)
        self.conv_in = nn.Conv2d(in_channels, widest, 3, padding=1)
        self.mid_block = MidBlock(widest, groups)
        self.up_blocks = nn.ModuleList(
            UpBlock(before, width, groups, upsample=level < len(up_channels) - 1)
            for level, (before, width) in enumerate(
                zip((widest, *up_channels), up_channels, strict=False)
            )
        )
        self.conv_norm_out = group_norm(groups, up_channels[-1])

    def forward(self, maps: Tensor, n_frame: int) -> Tensor:
        """`[M, c, h, w]`, every `n_frame` after another being one clip, to `[M, c', h', w']`."""
        maps = self.mid_block(self.conv_in(maps), n_frame)
        for block in self.up_blocks:
            maps = block(maps, n_frame)
        return functional.silu(self.conv_norm_out(maps))


class MidBlock(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([SelfAttention(channels, groups)])
        self.temp_attentions = nn.ModuleList([SelfAttention(channels, groups)])
        self.weights = nn.ParameterList([nn.Parameter(torch.ones(1))])

    def forward(self, maps: Tensor, n_frame: int) -> Tensor:
        """`[M, c, h, w]` to `[M, c, h, w]`."""
        maps = self.resnets[0](maps)
        maps = attend(maps, n_frame, self.attentions[0], self.temp_attentions[0], self.weights[0])
        mixed: Tensor = self.resnets[1](maps)
        return mixed


class UpBlock(nn.Module):
    """A residual block and attention, twice, then up-sampling."""

    def __init__(self, in_channels: int, channels: int, groups: int, *, upsample: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResidualBlock(before, channels, groups) for before in (in_channels, channels)
        )
        self.attentions = nn.ModuleList(SelfAttention(channels, groups) for _ in range(2))
        self.temp_attentions = nn.ModuleList(SelfAttention(channels, groups) for _ in range(2))
        self.weights = nn.ParameterList(nn.Parameter(torch.ones(1)) for _ in range(2))
        self.upsamplers = nn.ModuleList([Upsample(channels)] if upsample else [])

    def forward(self, maps: Tensor, n_frame: int) -> Tensor:
        """`[M, c, h, w]` to `[M, c', h, w]`, or twice as high and wide."""
        for resnet, in_space, in_time, weight in zip(
            self.resnets, self.attentions, self.temp_attentions, self.weights, strict=True
        ):
            maps = attend(resnet(maps), n_frame, in_space, in_time, weight)
        for upsampler in self.upsamplers:
            maps = upsampler(maps)
        return maps


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, added to the input."""

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm2 = group_norm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, channels, 1) if in_channels != channels else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        """`[M, c, h, w]` to `[M, c', h, w]`."""
        changed = self.conv1(functional.silu(self.norm1(maps)))
        changed = self.conv2(functional.silu(self.norm2(changed)))
        kept = maps if self.conv_shortcut is None else self.conv_shortcut(maps)
        added: Tensor = kept + changed
        return added


class SelfAttention(nn.Module):
    """One head over a sequence, added to it."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = group_norm(groups, channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, sequence: Tensor) -> Tensor:
        """`[M, c, n]` to `[M, c, n]`."""
        normed = self.group_norm(sequence).transpose(1, 2)[:, None]
        attended = functional.scaled_dot_product_attention(
            self.to_q(normed), self.to_k(normed), self.to_v(normed)
        )
        out: Tensor = self.to_out[0](attended[:, 0])
        return sequence + out.transpose(1, 2)


class Upsample(nn.Module):
    """Twice as high and wide, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """`[M, c, h, w]` to `[M, c, 2h, 2w]`."""
        larger: Tensor = self.conv(functional.interpolate(maps, scale_factor=2.0))
        return larger


def attend(
    maps: Tensor, n_frame: int, in_space: nn.Module, in_time: nn.Module, weight: Tensor
) -> Tensor:
    """Attention within each of the maps `[M, c, h, w]`, then between `n_frame` of them."""
    height, width = maps.shape[-2:]
    spatial = in_space(maps.flatten(2))
    # [B·F, c, hw] → [B·hw, c, F], and back.
    clips = spatial.unflatten(0, (-1, n_frame)).permute(0, 3, 2, 1)
    temporal = in_time(clips.flatten(0, 1)).unflatten(0, (-1, height * width))
    temporal = temporal.permute(0, 3, 2, 1).flatten(0, 1)
    mixed: Tensor = weight * spatial + (1 - weight) * temporal
    return torch.unflatten(mixed, 2, (height, width))


def group_norm(groups: int, channels: int) -> nn.GroupNorm:
    """The requested number of groups, or a smaller one that divides the channels."""
    return nn.GroupNorm(math.gcd(groups, channels), channels, eps=EPS)
