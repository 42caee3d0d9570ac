"""Values that the options offer and the code computes with.

They stand apart because this file needs the standard library only, and so does the help of every
command, whichever packages are installed.
"""

LINEAR_METHODS = ("ridge", "logistic", "lda")
BASELINES = ("wen-like", "nishimoto-like", "neuroclips-like")
CORRECTIONS = ("bonferroni", "fdr", "none")
SYNTH_PRESETS = ("small", "tiny")

STRATEGIES = ("ddp", "fsdp")
TRAINING_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
WEIGHT_PRECISIONS = ("fp32", "fp16", "fp16-storage")
"""`fp16`: stored and multiplied in half precision, sums stay in single precision.
`fp16-storage`: stored in half precision, computed in single: half the size, for the CPU."""
HEADS = {
    "concepts": ("concepts",),
    "objects": ("objects",),
    "reconstruction": ("reconstruction",),
    "caption": ("caption_prefix", "caption_embed", "caption_decoder"),
}
"""Heads that an exported model may leave out, and the roles of their networks."""

CC2017_SEGMENT_S = 480.0
CC2017_TEST_REPEATS = 10
