"""What a process holds, measured from the kernel's side, and how it grows."""

import ctypes
import gc
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eaves.spool import Spool
from tests.proc import count_descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was held at one moment.

    Attributes:
        images: Images sent so far.
        memory_bytes: Resident memory that belongs to the process alone.
        files_bytes: Size of each file by name.
        remembered: Ids that the spool remembers.
        dead_bytes: Dead letters.
        open_files: File descriptors.
        threads: Threads of Python.
    """

    images: int
    memory_bytes: int
    files_bytes: dict[str, int]
    remembered: int
    dead_bytes: int
    open_files: int
    threads: int


def take_sample(images: int, files: Sequence[Path], spool: Spool) -> Sample:
    """Measure this process, after everything that is garbage is returned to the kernel."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    fields = Path("/proc/self/statm").read_text().split()
    private = (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return Sample(
        images=images,
        memory_bytes=private,
        files_bytes={file.name: file.stat().st_size for file in files if file.exists()},
        remembered=spool.remembered(),
        dead_bytes=spool.dead_bytes(),
        open_files=count_descriptors(),
        threads=threading.active_count(),
    )


def slope(samples: Sequence[Sample], values: Sequence[float], *, per: int = 100_000) -> float:
    """Growth of a value for each `per` images: the least squares line through the samples."""
    count = len(samples)
    mean_x = sum(sample.images for sample in samples) / count
    mean_y = sum(values) / count
    over = sum((sample.images - mean_x) * (value - mean_y) for sample, value in zip(samples, values, strict=True))
    return per * over / sum((sample.images - mean_x) ** 2 for sample in samples)
