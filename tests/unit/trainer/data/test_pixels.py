"""Pixels of a training, row by row: the same from the disk as decoded again, and never those of a changed image."""

import hashlib
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eaves.errors import DatasetError
from eaves.recipe import Recipe
from trainer.data.listing import LabelledImage
from trainer.data.pixels import PixelRows, open_pixels
from trainer.progress import SilentProgress

SIDE = 12
RECIPE = Recipe(height=SIDE, width=SIDE, dtype="uint8")
ROW_BYTES = SIDE * SIDE * 3
IMAGES = 8


@pytest.fixture
def photos(tmp_path: Path) -> list[LabelledImage]:
    random, examples = np.random.default_rng(0), []
    for number in range(IMAGES):
        path = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (20, 16, 3), dtype=np.uint8)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        split = "val" if number < 2 else "train"
        examples.append(LabelledImage(path=path, label="ab"[number % 2], digest=digest, split=split))  # type: ignore[arg-type]
    return examples


@contextmanager
def opened(photos: list[LabelledImage], kept: int = IMAGES) -> Iterator[PixelRows]:
    with open_pixels(photos, RECIPE, SilentProgress(), kept_bytes=kept * ROW_BYTES) as pixels:
        yield pixels


@pytest.mark.parametrize("kept", [0, 4, IMAGES])
def test_a_row_is_the_same_wherever_it_is_read_from(photos: list[LabelledImage], kept: int):
    with opened(photos, kept) as pixels:
        expected = np.stack([RECIPE.tensor(example.path.read_bytes()) for example in photos])
        assert len(pixels) == IMAGES
        assert np.array_equal(pixels[np.arange(IMAGES)], expected)
        assert np.array_equal(pixels[[6, 0, 3, 3]], expected[[6, 0, 3, 3]])
        assert pixels[[]].shape == (0, SIDE, SIDE, 3)


def test_an_image_that_is_changed_meanwhile_is_not_trained_on(photos: list[LabelledImage]):
    with opened(photos, kept=2) as pixels:
        before = pixels[[0, 1]]
        for number in (0, 6):
            photos[number].path.write_bytes(photos[7].path.read_bytes())
        assert np.array_equal(pixels[[0, 1]], before)
        with pytest.raises(DatasetError, match=r"6\.png was changed during the training"):
            pixels[[0, 6]]
        photos[6].path.unlink()
        with pytest.raises(DatasetError, match=r"6\.png can no longer be read"):
            pixels[[6]]


def test_an_image_that_cant_be_decoded_ends_the_training_with_its_name(photos: list[LabelledImage]):
    broken = photos[3].path.read_bytes()[:60]
    photos[3].path.write_bytes(broken)
    photos[3] = replace(photos[3], digest=hashlib.sha256(broken).hexdigest())
    with pytest.raises(DatasetError, match=r"3\.png can't be read at 12 pixels"), opened(photos):
        pytest.fail("went on")


def test_pixels_that_the_disk_does_not_take_are_not_trained_on(photos: list[LabelledImage]):
    """The limit of a file's size ends a write as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * ROW_BYTES + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"), opened(photos):
            pytest.fail("went on")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_file_has_no_name(photos: list[LabelledImage], tmp_path: Path):
    """A process that is killed leaves nothing behind."""
    (tmp_path / "work").mkdir()
    with open_pixels(photos, RECIPE, SilentProgress(), folder=tmp_path / "work"):
        held = [str(entry.resolve()) for entry in Path("/proc/self/fd").iterdir()]
        assert any(path.startswith(str(tmp_path / "work")) for path in held)
        assert list((tmp_path / "work").iterdir()) == []


READ_ALL = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    import numpy as np
    from eaves.recipe import Recipe
    from trainer.data.listing import LabelledImage
    from trainer.data.pixels import open_pixels
    from trainer.progress import SilentProgress

    paths, images = sorted(Path(sys.argv[1]).iterdir()), int(sys.argv[2])
    def example(number):
        path = paths[number % len(paths)]
        split = "val" if number % 4 < 2 else "train"
        return LabelledImage(path=path, label="ab"[number % 2], digest=path.stem, split=split)
    examples = tuple(map(example, range(images)))
    with open_pixels(examples, Recipe(height=299, width=299, dtype="uint8"), SilentProgress()) as pixels:
        for start in range(0, images, 32):
            assert pixels[np.arange(start, min(start + 32, images))].any()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
""")


@pytest.mark.long("two processes decode 1,000 images")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path):
    random = np.random.default_rng(0)
    for _ in range(4):
        Image.fromarray(random.integers(0, 256, (30, 30, 3), dtype=np.uint8)).resize((299, 299)).save(
            tmp_path / "x.jpg"
        )
        digest = hashlib.sha256((tmp_path / "x.jpg").read_bytes()).hexdigest()
        (tmp_path / "x.jpg").rename(tmp_path / f"{digest}.jpg")
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", READ_ALL, str(tmp_path), str(images)], timeout=120))
        for images in (100, 900)
    ]
    assert peaks[1] - peaks[0] < 20e6, f"800 more images at 299 pixels are 215 MB; the peaks were {peaks}"
