"""What each kind of picture becomes (the table of docs/function.md), in training as in serving."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from eaves.errors import ImageError
from eaves.images.decoder import load
from eaves.images.pixels import Pixels, decode
from eaves.inference.session import Session
from eaves.media_type import sniff
from functions.pipeline import Classifier
from functions.settings import ServeSettings
from tests.fakes.models.artifact import RECIPE, ColourSession, write_colours
from tests.fakes.models.lossless_jpeg import encode_lossless
from tests.inputs import hostile
from tests.inputs.pictures import CASES, picture
from trainer.data.listing import LabelledImage
from trainer.data.pixels import open_pixels
from trainer.progress import SilentProgress


@pytest.mark.parametrize("name", CASES)
def test_a_picture_becomes_its_pixels(name: str) -> None:
    case = CASES[name]()
    seen = decode(case.data)
    assert seen.shape == np.shape(case.pixels)
    assert seen.dtype == np.uint8
    assert np.abs(seen.astype(int) - np.asarray(case.pixels, int)).max() <= case.tolerance


class Recording(ColourSession):
    """Keeps what the function hands to the model."""

    def __init__(self) -> None:
        self.batches: list[npt.NDArray[Any]] = []

    def run(self, batch: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        self.batches.append(batch)
        return super().run(batch)


def test_the_trainer_and_the_function_see_the_same_bit_for_bit(tmp_path: Path) -> None:
    files = []
    for number, (name, make) in enumerate(CASES.items()):
        data = make().data
        files.append(tmp_path / f"{number:03d}.{sniff(data).removeprefix('image/')}")
        files[-1].write_bytes(data)
        assert len(data) > 20, name
    session = Recording()
    classifier = Classifier(write_colours(tmp_path / "artifact"), cast(Session, session), ServeSettings())
    for file in files:
        classifier.predict(file.read_bytes())
    served = np.concatenate(session.batches)
    assert np.array_equal(train_on(files), served)


def train_on(files: list[Path]) -> Pixels:
    """The rows that a training reads."""
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    examples = [LabelledImage(path=file, label="a", digest=of) for file, of in zip(files, digests, strict=True)]
    with open_pixels(examples, RECIPE, SilentProgress()) as pixels:
        return np.array(pixels[range(len(files))])


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (hostile.CORRUPT["HEIC"](), "send JPEG"),
        (hostile.CORRUPT["AVIF"](), "send JPEG"),
        (hostile.CORRUPT["a run-length encoded BMP"](), "uncompressed"),
        (hostile.CORRUPT["a TIFF packed with LZMA"](), "LZW"),
        (hostile.encode(picture(), "TIFF", big_tiff=True), "TIFF"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG, PNG, WebP"),
    ],
    ids=["HEIC", "AVIF", "run-length encoded BMP", "TIFF with LZMA", "BigTIFF", "JPEG 2000"],
)
def test_what_is_not_taken_says_what_is(data: bytes, hint: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("name", hostile.HARMLESS)
def test_what_lies_beside_a_picture_changes_no_pixel(name: str) -> None:
    kind = name.split()[1]
    seen = decode(hostile.HARMLESS[name]())
    if kind in ("PNG", "JPEG"):
        assert np.array_equal(seen, decode(hostile.good(kind)))
    assert seen.size


def test_a_lossless_jpeg_is_decoded_whole() -> None:
    """It has no cosine transform that could be scaled: asked for a smaller picture, libjpeg refuses it."""
    rows = [[(x + 3 * y) % 256 for x in range(512)] for y in range(512)]
    encoded, whole = encode_lossless(rows), np.asarray(rows)
    images = {side: load(encoded, at_least=(side, side)) for side in (1, 32, 64, 128, 224, 256, 299, 300, 512, 600)}
    assert [side for side, image in images.items() if not np.array_equal(np.asarray(image)[..., 0], whole)] == []


def test_a_tiff_of_grey_multiplied_by_its_alpha_is_read() -> None:
    """Pillow writes no such file, so the tag of a plain one with alpha is changed: ExtraSamples 2 becomes 1."""
    stream = io.BytesIO()
    Image.new("LA", (4, 4), (50, 128)).save(stream, "TIFF")
    plain, tag = stream.getvalue(), struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert plain.count(tag) == 1
    data = plain.replace(tag, struct.pack("<HHIHH", 338, 3, 1, 1, 0))
    assert Image.open(io.BytesIO(data)).mode == "La"
    # 50 is 100 times the alpha of 128 in 255; white shines through by the rest.
    assert np.abs(decode(data).astype(int) - (50 + 127)).max() <= 2
