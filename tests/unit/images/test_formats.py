"""What each kind of picture becomes (the table of docs/function.md), in training as in serving, and what is refused."""

import hashlib
import io
import struct
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from eaves.errors import ImageError, ImageTooLargeError
from eaves.images.decoder import FORMATS, load
from eaves.images.envelope import MAX_SCANS, open_envelope, read_orientation
from eaves.images.pixels import Pixels, decode
from eaves.inference.session import Session
from eaves.media_type import SUFFIXES, sniff
from functions.pipeline import Classifier
from functions.settings import ServeSettings
from tests.fakes.models.artifact import RECIPE, ColourSession, write_colours
from tests.fakes.models.lossless_jpeg import encode_lossless
from tests.inputs import hostile
from tests.inputs.hostile import encode
from tests.inputs.pictures import CASES, picture, with_exif
from trainer.data.listing import LabelledImage
from trainer.data.pixels import open_pixels
from trainer.progress import SilentProgress


@pytest.mark.parametrize("name", CASES)
def test_a_picture_becomes_its_pixels(name: str):
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


def test_the_trainer_and_the_function_see_the_same_bit_for_bit(tmp_path: Path):
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
def test_what_is_not_taken_says_what_is(data: bytes, hint: str):
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("name", hostile.HARMLESS)
def test_what_lies_beside_a_picture_changes_no_pixel(name: str):
    kind = name.split()[1]
    seen = decode(hostile.HARMLESS[name]())
    if kind in ("PNG", "JPEG"):
        assert np.array_equal(seen, decode(hostile.good(kind)))
    assert seen.size


def test_a_lossless_jpeg_is_decoded_whole():
    """It has no cosine transform that could be scaled: asked for a smaller picture, libjpeg refuses it."""
    rows = [[(x + 3 * y) % 256 for x in range(512)] for y in range(512)]
    encoded, whole = encode_lossless(rows), np.asarray(rows)
    images = {side: load(encoded, at_least=(side, side)) for side in (1, 32, 64, 128, 224, 256, 299, 300, 512, 600)}
    assert [side for side, image in images.items() if not np.array_equal(np.asarray(image)[..., 0], whole)] == []


def test_a_tiff_of_grey_multiplied_by_its_alpha_is_read():
    """Pillow writes no such file, so the tag of a plain one with alpha is changed: ExtraSamples 2 becomes 1."""
    stream = io.BytesIO()
    Image.new("LA", (4, 4), (50, 128)).save(stream, "TIFF")
    plain, tag = stream.getvalue(), struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert plain.count(tag) == 1
    data = plain.replace(tag, struct.pack("<HHIHH", 338, 3, 1, 1, 0))
    assert Image.open(io.BytesIO(data)).mode == "La"
    # 50 is 100 times the alpha of 128 in 255; white shines through by the rest.
    assert np.abs(decode(data).astype(int) - (50 + 127)).max() <= 2


def test_a_suffix_is_there_for_every_format():
    assert {Image.registered_extensions()[suffix] for suffix in SUFFIXES} == set(FORMATS)


@pytest.mark.parametrize("data", [b"hello", b"\xff\xd8\xff", b"BM", b"GIF89a"])
def test_what_is_no_image_is_refused(data: bytes):
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.http_status == 422


@pytest.mark.parametrize("size", [(8_000, 6_251), (2**31 - 1, 1)])
def test_an_image_that_claims_too_many_pixels_is_refused_from_its_header(size: tuple[int, int]):
    with pytest.raises(ImageTooLargeError) as caught:
        decode(hostile.png(*size))
    assert caught.value.http_status == 413


def test_the_limit_itself_is_allowed():
    data = encode(picture(20, 10), "PNG")
    assert decode(data, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageTooLargeError, match="20x10"):
        decode(data, max_pixels=199)


@pytest.mark.parametrize("size", [(640, 480), (200, 1000), (601, 599), (64, 64)])
@pytest.mark.parametrize("at_least", [(75, 150), (299, 299)])
def test_a_scaled_decode_is_never_smaller_than_needed(size: tuple[int, int], at_least: tuple[int, int]):
    width, height = size
    pixels = decode(encode(picture(width, height), "JPEG"), at_least=at_least)
    assert pixels.shape[0] >= min(at_least[0], height)
    assert pixels.shape[1] >= min(at_least[1], width)
    assert pixels.shape[0] / height == pytest.approx(pixels.shape[1] / width, rel=0.02)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size():
    assert decode(encode(picture(1600, 1200), "JPEG"), at_least=(150, 150)).shape == (150, 200, 3)


def test_large_frames_take_turns():
    """A lock given as `large` is held while more than 8 megapixels are decoded, whatever the draft asks for."""
    held: list[bool] = []

    class Gate:
        def __enter__(self) -> None:
            held.append(True)

        def __exit__(self, *error: object) -> None:
            held.append(False)

    for size, options, times in (
        ((3000, 2700), {"format": "PNG"}, 1),
        ((3000, 2600), {"format": "PNG"}, 0),
        ((3000, 2700), {"format": "JPEG"}, 0),
        ((3000, 2700), {"format": "JPEG", "progressive": True}, 1),
    ):
        held.clear()
        stream = io.BytesIO()
        Image.new("L", size).save(stream, **options)
        load(stream.getvalue(), at_least=(299, 299), large=Gate())
        assert held == [True, False] * times


def test_a_webp_may_have_a_third_of_the_pixels():
    data = encode(picture(30, 10), "WEBP")
    assert decode(data, max_pixels=900).shape == (10, 30, 3)
    with pytest.raises(ImageTooLargeError):
        decode(data, max_pixels=899)


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_a_side_has_a_limit_too(size: tuple[int, int]):
    with pytest.raises(ImageTooLargeError, match="65535 pixels on a side"):
        decode(hostile.png(*size))


def exif(order: str = "<", magic: int = 42, start: int = 8, kind: int = 3, values: int = 1, value: int = 6) -> bytes:
    number = struct.pack(order + ("H2x" if kind == 3 else "I"), value)
    entries = struct.pack(f"{order}HHHI", 1, 0x0112, kind, values) + number
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", magic, start) + entries


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("value", [1, 8])
def test_an_orientation_is_read(order: str, kind: int, value: int):
    block = exif(order, kind=kind, value=value)
    assert read_orientation(block) == read_orientation(b"Exif\0\0" + block) == value


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"nonsense that is long enough",
        exif(start=2**32 - 1),
        exif(value=0),
        exif()[:-6],
        struct.pack("<2sHIH", b"II", 42, 8, 65_535),
    ],
)
def test_where_none_can_be_read_there_is_none(block: bytes):
    assert read_orientation(block) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_exif_that_is_damaged_costs_no_picture(kind: str):
    info = Image.Exif()
    info[0x0112] = 6
    data = with_exif(kind, info)
    assert open_envelope(data).orientation == 6
    assert open_envelope(data.replace(b"MM\0*", b"MM\xff*").replace(b"II*\0", b"II*\xff")).orientation == 1


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("TIFF")])
def test_the_size_is_known_before_anything_is_decoded(name: str):
    data = CASES[name]().data
    with Image.open(io.BytesIO(data)) as image:
        assert open_envelope(data).size == image.size


def test_a_decoder_gets_no_metadata():
    for name in ("JPEG, a thumbnail in its EXIF", "PNG, turned 6"):
        data = CASES[name]().data
        given = open_envelope(data).data
        assert len(given) < len(data)
        assert b"Exif" not in given


def test_scans_have_an_end():
    assert open_envelope(hostile.jpeg_of_scans(MAX_SCANS // 2)).buffered
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        open_envelope(hostile.jpeg_of_scans(MAX_SCANS))
    assert not open_envelope(encode(picture(), "JPEG")).buffered
