from pathlib import Path

import numpy as np

from corticast_training.labels.blocks import Block, block_of_each, read_blocks


def test_a_block_starts_at_its_onset_and_ends_before_its_end() -> None:
    times = np.array([12.5, 15.0, 35.0, 37.5, 40.0])
    blocks = [Block(onset_s=15.0, duration_s=22.5, label="face")]
    assert block_of_each(times, blocks).tolist() == [-1, 0, 0, -1, -1]


def test_rounding_in_a_time_does_not_move_it_out_of_its_block() -> None:
    # 0.7 is 0.1 + 0.2 + 0.4 on paper, and a little more in binary.
    times = np.array([3 * 0.8, 0.1 + 0.2 + 0.4])
    assert block_of_each(times, [Block(2.4, 1.0, "face")]).tolist() == [0, -1]
    assert block_of_each(times, [Block(0.0, 0.7, "face")]).tolist() == [-1, -1]


def test_events_without_a_label_are_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_text("onset\tduration\ttrial_type\n5\t1\tface\n0\t1\tn/a\n2\t1\thouse\n")
    assert read_blocks(path, "trial_type") == [Block(2.0, 1.0, "house"), Block(5.0, 1.0, "face")]
