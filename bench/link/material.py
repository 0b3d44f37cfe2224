"""Prepares the models and photos of the experiment, unless an earlier call has prepared them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eaves.artifact import open_artifact
from eaves.errors import EavesError

SHARED = Path("../shared")
"""Directory with photos of flowers and the weights of Inception V3. If it doesn't exist, the experiment uses a small
model and handwritten digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The models and photos that the experiment uses.

    Attributes:
        artifact: Directory of the artifact that predicts.
        head: Directory of an artifact with the same backbone and another head, for the update of the head.
        other: Directory of an artifact with another backbone, for the update of the whole model.
        photos: Paths of the photos, in a fixed order that mixes classes.
        text: Description of the model and the photos in the results.
    """

    artifact: Path
    head: Path
    other: Path
    photos: tuple[Path, ...]
    text: str


def prepare(folder: Path, shared: Path, say: Callable[[str], None]) -> Material:
    """Train and convert the models that are missing, and return all models and photos.

    With Inception V3 this takes about ten minutes on two cores.

    Args:
        folder: Directory of the models.
        shared: Directory with `data/flowers` and `weights`; without them a small network learns handwritten digits.
        say: Called with progress messages.
    """
    flowers, weights = shared / "data/flowers", shared / "weights/inception_v3_notop.weights.h5"
    real = flowers.is_dir() and weights.is_file()
    photos_at = flowers if real else folder / "digits"
    if not real and not photos_at.is_dir():
        _write_digits(photos_at)
    training = [*("--arch", "inception_v3", "--weights", str(weights.resolve()))] if real else ["--arch", "small_cnn"]
    data = (flowers / "train" if real else photos_at).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "eaves.yaml").exists():
        _eaves(folder, say, "init", ".", "--name", "flowers" if real else "digits", "--data", str(data))
    runs = {"run-a": (), "run-b": ("--head-l2", "10")}
    for run, more in runs.items():
        if not (folder / "runs" / run / "run.json").exists():
            _eaves(folder, say, "train", *training, *more, "--run", f"runs/{run}")
    wanted = {
        "artifact": ("run-a", "fp32"),
        "head": ("run-b", "fp32"),
        "other": ("run-a", "int8"),
    }
    for name, (run, precision) in wanted.items():
        if not _is_artifact(folder / "artifacts" / name):
            _eaves(folder, say, "convert", f"runs/{run}", "--precision", precision, "--artifact", f"artifacts/{name}")
    photos = sorted(path for kind in ("*.jpg", "*.png") for path in photos_at.rglob(kind))
    random.Random(0).shuffle(photos)
    text = "Inception V3 (fp32), 650 photos of flowers" if real else "small_cnn, handwritten digits"
    found = {name: folder / "artifacts" / name for name in wanted}
    return Material(**found, photos=tuple(photos), text=text)


def _is_artifact(path: Path) -> bool:
    try:
        open_artifact(path)
    except (EavesError, OSError):
        return False
    return True


def _eaves(folder: Path, say: Callable[[str], None], *arguments: str) -> None:
    say(f"eaves {' '.join(arguments)}")
    with (folder / "model.log").open("a") as log:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("eaves").absolute()), *arguments],
            cwd=folder,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        sys.exit(f"error: eaves {arguments[0]} failed; see {folder / 'model.log'}")


def _write_digits(folder: Path) -> None:
    """Write the 1,797 digits of the UCI optical recognition test set (8x8 pixels, grey) as PNG files."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).save(path)
