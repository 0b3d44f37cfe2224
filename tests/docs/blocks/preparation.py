"""What a page's reader already has: photos, a run, an artifact, a function that is deployed."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.docs.blocks.block import Block
from tests.docs.blocks.foreign_models import FOREIGN_MODELS
from tests.docs.blocks.pages import ROOT
from tests.docs.blocks.runner import build_environ
from tests.once import build_once_here
from tests.processes.commands import run_command

PETALS = {
    "daisy": (245, 245, 245),
    "dandelion": (240, 200, 30),
    "roses": (200, 30, 60),
    "sunflowers": (250, 150, 20),
    "tulips": (170, 60, 200),
}
"""The photos' classes and the colour of their flowers: those of ../shared/data/flowers."""
PER_CLASS = 16
QUICK = {"EAVES_TRAIN_EPOCHS": "8", "EAVES_TRAIN_ARCH": "small_cnn"}
"""Environment of trainings that would take longer than a test may."""
TREES = ("pictures", "photos", "run", "artifact")
"""Preparations that are a folder of files; each contains the one before it. `pictures` has no eaves.yaml yet."""
UP = Block(page="preparation", line=1, language="bash", text="eaves up\n", marks={"terminal": "http://"})
DEPLOY = Block(page="preparation", line=2, language="bash", text="eaves deploy\n")
CLONE = "clone"
"""A fresh clone of this repository, with photos and, if ../shared is there, weights in it."""
SELECTED = {"PYTEST_ADDOPTS": "tests/unit/test_names.py"}
"""Environment of a clone: pytest runs one short file, unless a command chooses others."""
STARTED: dict[str, tuple[Block, ...]] = {"up": (UP,), "deployed": (UP, DEPLOY)}
"""What runs: commands before the page's own."""


def draw_photos(root: Path) -> None:
    """Draw flowers into `root`/CLASS/, each another, 96x72 pixels, as JPEG."""
    for label, petal in PETALS.items():
        (root / label).mkdir(parents=True)
        for number in range(PER_CLASS):
            draw_flower(petal, random.Random(f"{label} {number}")).save(root / label / f"{number:03d}.jpg", quality=92)


def draw_flower(petal: tuple[int, int, int], chance: random.Random) -> Image.Image:
    """A flower of one colour somewhere on a meadow."""
    image = Image.new("RGB", (96, 72), (chance.randint(40, 90), chance.randint(110, 150), chance.randint(40, 90)))
    pen = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = chance.randrange(96), chance.randrange(72)
        pen.line([x, y, x + chance.randint(-8, 8), y + 10], fill=(60, chance.randint(90, 190), 60))
    x, y, size = chance.randint(30, 66), chance.randint(26, 46), chance.randint(14, 24)
    pen.ellipse([x - size, y - size, x + size, y + size], fill=petal)
    pen.ellipse([x - size // 3, y - size // 3, x + size // 3, y + size // 3], fill=(110, 80, 20))
    return image


def prepare(folder: Path, names: Sequence[str], factory: pytest.TempPathFactory) -> list[Block]:
    """Make the reader's folder; returns the blocks to run before the page's own.

    Args:
        folder: Path of the reader's folder; it doesn't exist yet.
        names: Names in `TREES`, `STARTED` and `FOREIGN_MODELS`.
        factory: That of pytest; what takes time is made once for as long as no module changes.
    """
    unknown = set(names) - {*TREES, *STARTED, *FOREIGN_MODELS, CLONE}
    assert not unknown, f"no such preparation: {sorted(unknown)}"
    trees = [name for name in TREES if name in names]
    if set(names) & {*STARTED}:
        trees.append("artifact")
    if trees:
        modules = [path for name in ("eaves", "trainer", "converters") for path in sorted((ROOT / name).rglob("*.py"))]
        made = build_once_here(factory, f"docs-{trees[-1]}", _builder(trees[-1], factory), *modules)
        shutil.copytree(made, folder, symlinks=True)
    elif CLONE in names:
        clone_checkout(folder)
    else:
        folder.mkdir(parents=True)
    for name in names:
        FOREIGN_MODELS.get(name, _nothing)(folder)
    return list(STARTED["deployed"] if "deployed" in names else STARTED["up"] if "up" in names else ())


def clone_checkout(folder: Path) -> None:
    """Clone what is committed into `folder`; its `.venv` is that of this checkout, which took minutes to make."""
    if not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no git checkout")
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(folder)], check=True)
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (folder / ".venv" / part.name).symlink_to(part)
    (folder / ".venv/.ready").touch()
    draw_photos(folder / "photos")
    weights = ROOT.parent / "shared/weights/inception_v3_notop.weights.h5"
    if weights.exists():
        (folder / weights.name).symlink_to(weights)


def _nothing(folder: Path) -> None:
    """Add no model of others."""


def _builder(name: str, factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    earlier = [*TREES][: [*TREES].index(name)]

    def build(root: Path) -> Path:
        folder = root / "flowers"
        prepare(folder, earlier[-1:], factory)
        if name == "pictures":
            draw_photos(folder / "photos")
        elif name == "photos":
            _run(root, "init", "--name", "flowers", "--data", "photos")
        elif name == "run":
            _run(root, "train", "--arch", "small_cnn")
        else:
            _run(root, "convert", "--precision", "fp32")
        return folder

    return build


def _run(root: Path, *words: str) -> None:
    command, environ = ["eaves", *words], build_environ(root, **QUICK)
    done = run_command(command, cwd=root / "flowers", env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
