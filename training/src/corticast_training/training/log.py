"""The log of a training: `training.csv` for people and scripts, `tensorboard/` for curves."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

CSV, TENSORBOARD = "training.csv", "tensorboard"


class Log:
    """One row a step (`split` = train) and one an epoch (`split` = validation)."""

    def __init__(self, out: Path, names: Sequence[str], *, after_step: int) -> None:
        """Keeps what is there up to `after_step`; later rows are of a run that was cut."""
        self.columns = ["step", "epoch", "split", "learning_rate", "loss", *names]
        path = out / CSV
        kept = _rows(path, after_step) if after_step else []
        self.file = path.open("w", newline="", encoding="utf-8")
        self.csv = csv.DictWriter(self.file, self.columns, restval="", lineterminator="\n")
        self.csv.writeheader()
        self.csv.writerows(kept)
        self.file.flush()
        self.board = SummaryWriter(str(out / TENSORBOARD), purge_step=after_step + 1)

    def row(self, step: int, epoch: int, split: str, values: Mapping[str, float]) -> None:
        """Writes one row. Numbers are written so that they can be read back exactly."""
        self.csv.writerow({"step": step, "epoch": epoch, "split": split, **values})
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        """Finishes both files."""
        self.file.close()
        self.board.close()


def _rows(path: Path, last: int) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (row["step"] or "").isdecimal() and int(row["step"]) <= last]
