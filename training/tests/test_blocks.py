from pathlib import Path

import numpy as np
import pytest

from corticast_training.errors import TrainingError
from corticast_training.labels.blocks import Block, Chosen, block_of_each, read_blocks


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


TABLE = "onset\tduration\ttrial_type\n5\t1\tface\n0\tn/a\tn/a\n2\t1\thouse\n"


@pytest.mark.parametrize(
    "data",
    [
        TABLE.encode("utf-8-sig"),
        TABLE.encode("utf-16"),
        TABLE.replace("\n", "\r").encode(),
        TABLE.replace("\n", "\r\n").encode(),
        "\n".join('"' + row.replace("\t", '"\t"') + '"' for row in TABLE.splitlines()).encode(),
        TABLE.replace("n/a", "N/A").encode(),
        TABLE.replace("n/a", "NaN").encode(),
        TABLE.replace("n/a", "").encode(),
        (TABLE + "n/a\t1\tface\n").encode(),
    ],
)
def test_a_table_is_read_whatever_program_wrote_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "events.tsv"
    path.write_bytes(data)
    assert read_blocks(path, "trial_type") == [Block(2.0, 1.0, "house"), Block(5.0, 1.0, "face")]


def test_responses_within_blocks_are_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_text(
        "onset\tduration\ttrial_type\n0\t9\tface\n5\t0\tkey\n10\t9\thouse\n12\t1\tcue\n"
    )
    with pytest.raises(TrainingError, match="--classes, found cue,face,house"):
        read_blocks(path, "trial_type")
    chosen = Chosen("trial_type", frozenset({"face", "house"}))
    assert [block.label for block in read_blocks(path, chosen)] == ["face", "house"]


def test_an_event_without_a_length_gets_the_one_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_text("onset\tduration\ttrial_type\n0\t0\tface\n5\tn/a\thouse\n9\t1\tface\n")
    blocks = read_blocks(path, Chosen("trial_type", duration_s=2.5))
    assert [block.duration_s for block in blocks] == [2.5, 2.5, 1.0]


def test_commas_and_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_text("onset,duration,trial_type\n0,1,face\n")
    with pytest.raises(TrainingError, match="expected tabs"):
        read_blocks(path, "trial_type")
    path.write_bytes(b"onset\tduration\ttrial_type\n0\t1\tGes\xe4\xdf\n")
    with pytest.raises(TrainingError, match="not UTF-8"):
        read_blocks(path, "trial_type")
