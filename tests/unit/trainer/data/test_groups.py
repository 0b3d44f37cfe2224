"""Which images belong together: copies of a photo, shots that look alike, and what `data.group_by` says."""

import io
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from eaves.errors import ConfigError, DatasetError
from eaves.images.pixels import decode
from tests.inputs.fixture import write_fixture
from tests.inputs.settings import settings_from
from trainer.data import near_duplicates
from trainer.data.dataset import scan
from trainer.data.groups import group_copies
from trainer.data.listing import LabelledImage
from trainer.data.near_duplicates import BLOCK
from trainer.progress import SilentProgress, Step
from trainer.settings import DataSettings


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Like no other: large shapes and small ones, smoothly joined, with a camera's noise."""
    chance = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells, weight in ((5, 1.0), (11, 0.5), (30, 0.25)):
        patches = chance.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        total += weight * np.asarray(Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC), dtype=float)
    total = total / 1.75 + chance.normal(0, 3, total.shape)
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def encode(image: Image.Image, quality: int = 90, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def shot(background: Image.Image, seed: int, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A fixed camera's next shot: a part somewhere, a little more or less light, noise."""
    chance = np.random.default_rng(seed)
    image = background.copy()
    x, y = (int(chance.integers(0, edge - 20)) for edge in image.size)
    ImageDraw.Draw(image).ellipse([x, y, x + 20, y + 20], fill=colour)
    pixels = np.asarray(image) * chance.uniform(0.9, 1.1) + chance.normal(0, 6, (*image.size[::-1], 3))
    return encode(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))


def look(data: Sequence[bytes]) -> list[near_duplicates.ImageFingerprint | None]:
    return [near_duplicates.fingerprint_pixels(decode(item, at_least=near_duplicates.DECODED)) for item in data]


def group(data: Sequence[bytes], near_copies: str = "exact", labels: Sequence[int] | None = None) -> list[list[int]]:
    return sorted(sorted(found) for found in group_copies(shown(look(data), labels), near_copies).groups)


def shown(
    looks: Sequence[near_duplicates.ImageFingerprint | None], labels: Sequence[int] | None = None
) -> list[LabelledImage]:
    """Images with these fingerprints, whose digests are in their order."""
    return [
        LabelledImage(path=Path(), label=str(label), digest=f"{number:05d}", look=found)
        for number, (found, label) in enumerate(zip(looks, labels or [0] * len(looks), strict=True))
    ]


def test_a_part_as_dark_as_its_background_is_reported_by_its_colour():
    background = Image.new("RGB", (320, 240), (100, 100, 100))
    background.paste(photo(5).convert("L").convert("RGB").crop((0, 0, 320, 120)), (0, 0))
    red, blue = background.copy(), background.copy()
    ImageDraw.Draw(red).ellipse([200, 180, 225, 205], fill=(185, 62, 74))  # as bright as the grey around it
    ImageDraw.Draw(blue).ellipse([100, 160, 125, 185], fill=(185, 62, 74))
    assert group([encode(red), encode(blue)]) == []


def test_similar_groups_the_shots_of_a_burst_and_off_groups_nothing():
    data = [shot(photo(number // 2), number) for number in range(12)]
    bursts = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert group(data, "similar") == bursts
    assert group(data, "similar", [number % 2 for number in range(12)]) == []
    assert group(data, "exact") == []
    assert group([*data, data[0]], "off") == []


@pytest.mark.long("many pictures are drawn and compared")
def test_parts_in_a_fixture_are_no_copies_of_each_other(tmp_path: Path):
    dataset = scan(write_fixture(tmp_path, seed=1, good=15, scratch=15, missing=10), val_fraction=0.2)
    assert (dataset.faults, dataset.groups, dataset.lookalikes) == ((), 0, frozenset())
    assert dataset.counts("val") == {"good": 3, "scratch": 3, "missing": 2}
    (note,) = dataset.notes
    assert note.startswith("fixed camera: ")
    assert " of 40 images are nearly the same picture" in note


@pytest.mark.long("many pictures are drawn and compared")
def test_a_shot_of_a_part_in_a_fixture_encoded_again_is_found(tmp_path: Path):
    write_fixture(tmp_path, good=20, scratch=20)
    for number in range(4):
        again = tmp_path / "scratch" / f"again{number}.jpg"
        again.write_bytes(encode(Image.open(tmp_path / "good" / f"{number:04d}.jpg"), 92))
    dataset = scan(tmp_path, val_fraction=0.2)
    groups: dict[str, set[str]] = {}
    for item in dataset.examples:
        if item.group:
            groups.setdefault(item.group, set()).add(item.path.stem)
    assert sorted(map(sorted, groups.values())) == [[f"{number:04d}", f"again{number}"] for number in range(4)]


def clusters(count: int, each: int, spread: float) -> npt.NDArray[np.float32]:
    """Thumbnails around centres that look nothing like each other."""
    chance = np.random.default_rng(1)
    centres = np.repeat(chance.normal(size=(count, 256)), each, axis=0)
    moved = centres + spread * chance.normal(size=(count * each, 256))
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), dtype=np.float32)


def plain_looks(thumbnails: npt.NDArray[np.float32], *, copies: bool = True) -> list[near_duplicates.ImageFingerprint]:
    """Looks of pictures that are copies of one photo when their thumbnails look alike, or that never are."""
    grids = np.random.default_rng(3).integers(0, 256, (len(thumbnails), 3, 1024), dtype=np.uint8)
    return [
        near_duplicates.ImageFingerprint(thumbnail=item, grid=grids[0 if copies else number])
        for number, item in enumerate(thumbnails)
    ]


@pytest.mark.parametrize("near_copies", ["exact", "similar"])
def test_groups_are_those_of_all_pairs_whatever_the_number_of_blocks(near_copies: str):
    thumbnails = clusters(60, 6, 0.13)
    chance = np.random.default_rng(2)
    thumbnails = thumbnails[chance.permutation(len(thumbnails))]
    labels = chance.integers(0, 2, len(thumbnails))
    near = thumbnails @ thumbnails.T >= 0.98
    if near_copies == "similar":
        near &= labels[:, None] == labels
    names = np.arange(len(near))
    for _ in names:
        names = np.array([names[row].min() for row in near])
    expected = [np.flatnonzero(names == name).tolist() for name in np.flatnonzero(np.bincount(names) > 1)]
    looks = [None, *plain_looks(thumbnails, copies=near_copies == "exact"), None]
    found = group_copies(shown(looks, [0, *labels.tolist(), 0]), near_copies)
    assert [[position - 1 for position in one] for one in found.groups] == expected
    assert len(looks) > 2 * BLOCK
    assert len(expected) > 50


class Phases(SilentProgress):
    """Titles of the phases and their steps."""

    def __init__(self) -> None:
        self.steps = Counter[str]()

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        def step(count: int = 1, note: str = "") -> None:
            self.steps[title] += count

        yield step
        assert not self.steps[title] % total


def test_shots_of_a_fixed_camera_take_little_time():
    """4,000 shots took 6.6 s of processor time and 20,000 took 160 s; now they take 1 and 11 s."""
    images = shown(plain_looks(clusters(1, 4000, 0.05)), [number % 2 for number in range(4000)])
    phases, started = Phases(), time.process_time()
    found = group_copies(images, "similar", phases)
    assert time.process_time() - started < 5
    assert found.groups == []
    assert found.note.startswith("fixed camera: 4000 of 4000 images")
    assert phases.steps == {"Comparing images": 4000, "Comparing shots by a fixed camera": 4000}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part", "folder:LEVEL, name:PATTERN or column:NAME"),
        ("folder:0", "must be 1"),
        ("name:part", "in parentheses"),
    ],
)
def test_a_group_by_that_makes_no_sense_is_a_fault_of_the_setting(text: str, message: str):
    with pytest.raises(ConfigError) as caught:
        settings_from(DataSettings, {"path": "x", "group_by": text})
    assert "group_by: " in str(caught.value)
    assert message in str(caught.value)


def test_a_column_of_a_manifest_names_a_group(tmp_path: Path):
    photos = fill(tmp_path)
    lines = [f"{file.relative_to(tmp_path)},{file.parts[-3]},{file.stem[:2]}" for file in photos.rglob("*.png")]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,part", *lines]))
    assert scan(tmp_path / "m.csv", val_fraction=0.2, group_by="column:part").groups == 10
    with pytest.raises(DatasetError, match="matches none of 60 images"):
        scan(tmp_path / "m.csv", val_fraction=0.2, group_by="column:camera")


def fill(root: Path) -> Path:
    """Two classes, ten parts, three shots of each part in each class."""
    for label in ("ok", "scratch"):
        for part in range(10):
            (root / label / f"part{part}").mkdir(parents=True)
            for number in range(3):
                name = root / label / f"part{part}" / f"p{part}_{number}.png"
                name.write_bytes(f"{label} {part} {number}".encode())
    return root


@pytest.mark.parametrize("text", ["folder:1", r"name:^(p\d+)_"])
def test_a_part_is_on_one_side_in_both_classes(tmp_path: Path, text: str):
    dataset = scan(fill(tmp_path), val_fraction=0.2, group_by=text)
    sides: dict[str, set[str | None]] = {}
    for item in dataset.examples:
        sides.setdefault(item.path.parent.name, set()).add(item.split)
        assert item.group in (f"part{item.path.parent.name[-1]}", f"p{item.path.parent.name[-1]}")
    assert all(len(side) == 1 for side in sides.values())
    assert dataset.counts("val") == {"ok": 6, "scratch": 6}
    assert dataset.groups == 10
    assert dataset.notes == ()
