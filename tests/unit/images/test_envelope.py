"""What is read of a file before a decoder sees it."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from eaves.errors import ImageError
from eaves.images.envelope import MAX_SCANS, open_envelope, read_orientation
from tests.inputs import hostile
from tests.inputs.hostile import encode
from tests.inputs.pictures import CASES, picture, with_exif


def exif(order: str = "<", magic: int = 42, start: int = 8, kind: int = 3, values: int = 1, value: int = 6) -> bytes:
    number = struct.pack(order + ("H2x" if kind == 3 else "I"), value)
    entries = struct.pack(f"{order}HHHI", 1, 0x0112, kind, values) + number
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", magic, start) + entries


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("value", [1, 8])
def test_an_orientation_is_read(order: str, kind: int, value: int) -> None:
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
def test_where_none_can_be_read_there_is_none(block: bytes) -> None:
    assert read_orientation(block) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_exif_that_is_damaged_costs_no_picture(kind: str) -> None:
    info = Image.Exif()
    info[0x0112] = 6
    data = with_exif(kind, info)
    assert open_envelope(data).orientation == 6
    assert open_envelope(data.replace(b"MM\0*", b"MM\xff*").replace(b"II*\0", b"II*\xff")).orientation == 1


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("TIFF")])
def test_the_size_is_known_before_anything_is_decoded(name: str) -> None:
    data = CASES[name]().data
    with Image.open(io.BytesIO(data)) as image:
        assert open_envelope(data).size == image.size


def test_a_decoder_gets_no_metadata() -> None:
    for name in ("JPEG, a thumbnail in its EXIF", "PNG, turned 6"):
        data = CASES[name]().data
        given = open_envelope(data).data
        assert len(given) < len(data)
        assert b"Exif" not in given


def test_scans_have_an_end() -> None:
    assert open_envelope(hostile.jpeg_of_scans(MAX_SCANS // 2)).buffered
    with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans"):
        open_envelope(hostile.jpeg_of_scans(MAX_SCANS))
    assert not open_envelope(encode(picture(), "JPEG")).buffered
