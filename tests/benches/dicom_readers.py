"""Times from a complete DICOM file to voxels: corticast-adapter beside nibabel and pydicom.

Usage: dicom_readers.py DATA

DATA is the folder of real scans (CORTICAST_DATA). Needs nibabel and pydicom. Each reader reads
each file 51 times in turn; the table gives medians. Last come the times of a volume of one-slice
files, while its files are renamed into a watched folder.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
TIMES = 51
FILES = {
    "Siemens mosaic, 64x64x27": "siemens_skyra_mosaic/001_000013_000005.dcm",
    "Siemens mosaic, 64x64x18": "siemens_prisma_mosaic/001_000013_000002.dcm",
    "Siemens XA enhanced, 64x64x33": "siemens_xa30_enhanced/0002.dcm",
    "Siemens XA enhanced, 100x100x10": (
        "siemens_xa61_enhanced/s12_C2P__cmrr_mbep2d_bold__p2_mb5_001.dcm"
    ),
    "Siemens mosaic, RLE": "siemens_transfer_syntaxes/4.dcm",
}
SLICES = "siemens_xa30_single_slices"


def median_ms(work: Callable[[], object]) -> float:
    """Median time of a call, in ms."""
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def bench(name: str, paths: list[Path]) -> str:
    """What a bench of corticast-adapter prints for these paths."""
    command = ["cargo", "bench", "--quiet", "--locked", "-p", "corticast-adapter", "--bench", name]
    done = subprocess.run(
        [*command, "--", *map(str, paths)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout


def ours(paths: list[Path]) -> list[float]:
    """Medians of corticast-adapter, in ms."""
    return [float(line.split("\t")[1]) for line in bench("dicom", paths).splitlines()]


def with_nibabel(path: Path) -> np.ndarray:
    """Voxels by nibabel."""
    from nibabel.nicom import dicomwrappers

    return np.asarray(dicomwrappers.wrapper_from_file(path).get_data())


def with_pydicom(path: Path) -> np.ndarray:
    """Pixels by pydicom, still as they are stored."""
    import pydicom

    return pydicom.dcmread(path).pixel_array


def main() -> None:
    """Prints the table."""
    data = Path(sys.argv[1])
    paths = [data / path for path in FILES.values()]
    print("| file | corticast ms | nibabel ms | pydicom ms | times faster |\n|---|---|---|---|---|")
    for name, path, our_ms in zip(FILES, paths, ours(paths), strict=True):
        nibabel_ms = median_ms(lambda path=path: with_nibabel(path))
        pydicom_ms = median_ms(lambda path=path: with_pydicom(path))
        faster = f"{nibabel_ms / our_ms:.0f}, {pydicom_ms / our_ms:.0f}"
        print(f"| {name} | {our_ms:.3f} | {nibabel_ms:.2f} | {pydicom_ms:.2f} | {faster} |")
    with tempfile.TemporaryDirectory() as folder:
        for packed in (data / SLICES).iterdir():
            with gzip.open(packed) as source, (Path(folder) / packed.stem).open("wb") as target:
                shutil.copyfileobj(source, target)
        ms = ours([Path(folder)])[0]
        n = len(list(Path(folder).iterdir()))
        print(f"\n{n} one-slice files, from listing the folder to both volumes: {ms:.2f} ms")
        print("from renaming the last slice of a volume into a watched folder to the volume:")
        print(bench("slices", [Path(folder)]).strip())


if __name__ == "__main__":
    main()
