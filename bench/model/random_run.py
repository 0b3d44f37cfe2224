"""Makes a run with random weights: `python -m bench.model.random_run ARCH FOLDER` writes FOLDER/run.

The benchmarks use it where no photos and no pretrained weights are at hand, because speed doesn't depend on weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.model.architectures import build_run, write_images

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    build_run(sys.argv[1], write_images(folder / "images", suffix="jpg"), folder)
