r"""Names of published weights and our names for them, in one table.

The first pattern that matches a whole name decides. `\1`, `\2` are its groups; `{subject}` is
the subject that a checkpoint of one subject is loaded for. Targets start with the network:
`brain`, `prior` or `decoupler`.
"""

import re
from typing import NamedTuple

PRIOR = r"diffusion_prior\.net\."
TRANSFORMER = PRIOR + r"causal_transformer\."
ATTENTION = TRANSFORMER + r"layers\.(\d+)\.0\."
FEED_FORWARD = TRANSFORMER + r"layers\.(\d+)\.1\."
TIME = PRIOR + r"to_time_embeds\.0\.1\.net\."
GPT2 = r"(?:text_dec\.decoder\.)?(?:transformer\.)?"


class Row(NamedTuple):
    """A published name and ours."""

    pattern: re.Pattern[str]
    target: str | None
    """None where nothing is loaded: it is computed here, or is a second name of a weight."""


TABLE = tuple(
    Row(re.compile(pattern), target)
    for pattern, target in (
        (r"ridge\.linears\.0\.(weight|bias)", r"brain.ridge.linears.sub-{subject}.\1"),
        (r"(backbone\..+)", r"brain.\1"),
        (r"(?:clipproj\.)?proj", r"brain.text.proj"),
        (PRIOR + r"(learned_query|null_brain_embeds|null_image_embed)", r"prior.\1"),
        (TIME + r"0\.0\.(weight|bias)", r"prior.time_mlp.0.\1"),
        (TIME + r"1\.0\.(weight|bias)", r"prior.time_mlp.2.\1"),
        (TIME + r"2\.(weight|bias)", r"prior.time_mlp.4.\1"),
        (
            TRANSFORMER + r"rel_pos_bias\.relative_attention_bias\.weight",
            r"prior.relative_bias.weight",
        ),
        (ATTENTION + r"rotary_emb\.freqs", None),
        (ATTENTION + r"(.+)", r"prior.layers.\1.attention.\2"),
        (FEED_FORWARD + r"0\.g", r"prior.layers.\1.feed_forward.norm.g"),
        (FEED_FORWARD + r"1\.weight", r"prior.layers.\1.feed_forward.up.weight"),
        (FEED_FORWARD + r"5\.weight", r"prior.layers.\1.feed_forward.down.weight"),
        (TRANSFORMER + r"(norm\.g|project_out\.weight)", r"prior.\1"),
        (r"diffusion_prior\.noise_scheduler\..+", None),
        (r"motion_proj\.motion_proj\.(.+)", r"decoupler.motion.proj.\1"),
        (r"classifier\.(.+)", r"decoupler.concepts.\1"),
        (r"text_seg_dec\.(.+)", r"decoupler.regions.\1"),
        (r"text_dec\.clip_project\.model\.0\.(.+)", r"decoupler.captioner.prefix.\1"),
        (GPT2 + r"h\.\d+\.attn\.(?:masked_)?bias", None),
        (GPT2 + r"lm_head\.weight", None),
        (GPT2 + r"((?:wte|wpe|ln_f|h)\..+)", r"decoupler.captioner.\1"),
    )
)


def ours(name: str, subject: str | None) -> str | None:
    """Our name of a published weight, "" if it is not loaded, None if it is unknown.

    Without a `subject` a checkpoint's own ridge is unknown: it belongs to other voxels.
    """
    for pattern, target in TABLE:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        if target is None:
            return ""
        if "{subject}" in target and subject is None:
            return None
        return match.expand(target).replace("{subject}", subject or "")
    return None
