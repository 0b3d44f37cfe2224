"""The check of JPEG images that are passed on undecoded."""

import io

import pytest
from PIL import Image

pytest.importorskip("av", reason="PyAV is not installed (python -m pip install av)")

import av

from eaves.plugins.camera.decoder_images import JpegError, check_jpeg


def check(data: bytes) -> tuple[bytes, int, int]:
    with av.open(io.BytesIO(_draw()), format="mjpeg") as container:
        return check_jpeg(data, container.streams.video[0])


def _draw(size: tuple[int, int] = (96, 40), *, exif: bytes = b"", optimize: bool = False) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    written = io.BytesIO()
    image.save(written, "JPEG", exif=exif, optimize=optimize)
    return written.getvalue()


def test_padding_after_the_image_is_cut_off():
    data = _draw()
    assert check(data) == check(data + bytes(1000)) == (data, 96, 40)


@pytest.mark.parametrize("part", [0.1, 0.99])
def test_a_part_of_an_image_is_refused(part: float):
    data = _draw()
    with pytest.raises(JpegError):
        check(data[: int(len(data) * part)])


def test_a_small_picture_inside_does_not_count_as_the_end():
    data = _draw((640, 480), exif=b"Exif\0\0" + _draw((32, 32)) + bytes(6000))
    with pytest.raises(JpegError, match="incomplete"):
        check(data[:-2])


def test_missing_huffman_tables_are_added():
    """Motion JPEG of V4L2 cameras has none. What is added must be the standard's: the pixels stay the same."""
    data = _draw()
    position, bare = 2, data[:2]
    while data[position + 1] != 0xDA:
        length = 2 + int.from_bytes(data[position + 2 : position + 4])
        bare += b"" if data[position + 1] == 0xC4 else data[position : position + length]
        position += length
    bare += data[position:]
    assert len(bare) < len(data) - 300
    repaired, width, height = check(bare)
    assert (width, height) == (96, 40)
    assert len(repaired) > len(bare) + 300
    assert Image.open(io.BytesIO(repaired)).tobytes() == Image.open(io.BytesIO(data)).tobytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>\xff\xd9",
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 50 + b"\xff\xd9",
        b"\xff\xd8" + b"\xff" * 5000 + b"\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x02\xff\xd9",
    ],
)
def test_data_that_are_no_image_are_refused(data: bytes):
    with pytest.raises(JpegError):
        check(data)
