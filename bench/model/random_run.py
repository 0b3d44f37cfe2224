"""Makes a run of Inception V3 with random weights: `python -m bench.model.random_run FOLDER` writes FOLDER/run.

The benchmarks use it where no photos and no pretrained weights are at hand, because speed doesn't depend on weights.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.model.architectures import build_run, write_images
from trainer.train import ENVIRONMENT

if __name__ == "__main__":
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    folder = Path(sys.argv[1])
    build_run("inception_v3", write_images(folder / "images", suffix="jpg"), folder)
