"""Every kind of picture that the six formats can hold, with the pixels that it becomes."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.inputs.hostile import encode, grey_tiff, jpeg_segment, png, png_chunk

Pixels = npt.NDArray[np.uint8]
RED, GREEN, BLUE, WHITE = (200, 30, 60), (10, 220, 40), (20, 40, 230), (255, 255, 255)
ORIENTATIONS: dict[int, Callable[[Pixels], Pixels]] = {  # EXIF value: what brings the stored pixels upright
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: np.rot90,
}
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
LOSSLESS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}}
GREY16 = np.array([[0, 257, 32768, 65535]], np.uint16)
GREY16_SEEN = [[[value] * 3 for value in (0, 1, 127, 255)]]


class Case(NamedTuple):
    """A file and what it becomes.

    Attributes:
        data: The file.
        pixels: (H, W, 3), RGB.
        tolerance: Greatest difference of one value, for what is encoded with losses.
    """

    data: bytes
    pixels: Any
    tolerance: int = 0


def picture(width: int = 24, height: int = 16) -> Image.Image:
    """Smooth, and different at each corner."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], -1).astype(np.uint8))


def grey(values: Any) -> Pixels:
    return np.stack([np.asarray(values, np.uint8)] * 3, -1)


def raw_png(values: Any, colour: int, *chunks: bytes, bits: int = 8, interlaced: bool = False) -> bytes:
    """A PNG of one row, packed by hand: what Pillow can't write."""
    row = np.asarray(values, f">u{bits // 8}")
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    data = bytearray(
        png(
            row.size // samples,
            1,
            *chunks,
            png_chunk(b"IDAT", zlib.compress(b"\0" + row.tobytes())),
            bits=bits,
            colour=colour,
        )
    )
    if interlaced:
        data[28] = 1
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def with_exif(kind: str, exif: Image.Exif, image: Image.Image | None = None) -> bytes:
    return encode(image or picture(), kind, exif=exif, **LOSSLESS.get(kind, {}))


def turned(kind: str, orientation: int) -> Case:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = picture(32, 16)
    data = encode(image, kind, exif=exif, **{"JPEG": {"quality": 95}, **LOSSLESS}.get(kind, {}))
    return Case(data, ORIENTATIONS[orientation](np.asarray(image)), 12 if kind == "JPEG" else 0)


def ycck() -> Case:
    """A CMYK JPEG whose Adobe segment says YCCK: of neutral chroma, it is grey."""
    data = bytearray(encode(Image.new("CMYK", (8, 8), (180, 127, 127, 0)), "JPEG", quality=100))
    adobe = data.index(b"Adobe")
    data[adobe + 11] = 2
    return Case(bytes(data), np.full((8, 8, 3), 180), 3)


def with_thumbnail() -> Case:
    """A camera's JPEG: another JPEG in its EXIF."""
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + encode(Image.new("RGB", (16, 16), BLUE), "JPEG")
    data = encode(picture(), "JPEG", quality=95, subsampling=0)
    return Case(data[:2] + jpeg_segment(0xE1, exif) + data[2:], np.asarray(picture()), 8)


def several(kind: str, **options: Any) -> Case:
    """The first frame or page counts."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **LOSSLESS.get(kind, {}), **options)
    return Case(data, np.broadcast_to(RED, (8, 8, 3)), 8 if kind == "MPO" else 0)


def with_alpha(kind: str) -> Case:
    image = Image.new("RGBA", (3, 1), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    return Case(
        encode(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})),
        [[RED, WHITE, (127, 127, 127)]],
    )


def transparent_palette(kind: str) -> Case:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((0, 0), 0)
    return Case(encode(image, kind, transparency=0), [[WHITE, RED]])


def small_frame() -> Case:
    """A GIF whose first frame covers a corner of its screen."""
    image = Image.new("P", (1, 1), 1)
    image.putpalette([*BLUE, *RED])
    data = bytearray(encode(image, "GIF", optimize=False))
    struct.pack_into("<HH", data, 6, 2, 1)
    return Case(bytes(data), [[RED, BLUE]])


def upside_down_bmp() -> Case:
    data = bytearray(encode(picture(), "BMP"))
    struct.pack_into("<i", data, 22, -16)
    return Case(bytes(data), np.flipud(np.asarray(picture())))


def tiff_of(values: Any, **options: Any) -> bytes:
    return encode(Image.fromarray(np.asarray(values)), "TIFF", **options)


def tiled_tiff() -> Case:
    """Two tiles of 16x16, of which the second is cut off by the picture's edge."""
    tiles = bytes([50] * 256 + [90] * 256)
    where = 8 + 2 + 12 * 10 + 4
    tags = ((322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 2, where + 512), (325, 4, 2, where + 520))
    behind = tiles + struct.pack("<IIII", where, where + 256, 256, 256)
    return Case(grey_tiff(24, 16, *tags, behind=behind, striped=False), grey([[50] * 16 + [90] * 8] * 16))


def plain(kind: str, tolerance: int = 0, **options: Any) -> Case:
    return Case(encode(picture(), kind, **LOSSLESS.get(kind, {}), **options), np.asarray(picture()), tolerance)


def palette(kind: str) -> Case:
    image = picture().quantize(16)
    return Case(encode(image, kind), np.asarray(image.convert("RGB")))


def one_bit(kind: str, **options: Any) -> Case:
    return Case(encode(Image.fromarray(np.eye(8, dtype=bool)), kind, **options), grey(np.eye(8) * 255))


CASES: dict[str, Callable[[], Case]] = {
    "JPEG": partial(plain, "JPEG", 8, quality=95, subsampling=0),
    "JPEG, progressive": partial(plain, "JPEG", 8, quality=95, subsampling=0, progressive=True),
    "JPEG, grey": lambda: Case(encode(Image.fromarray(RAMP), "JPEG", quality=100), grey(RAMP), 2),
    "JPEG, CMYK": lambda: Case(
        encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100),
        np.broadcast_to((0, 255, 255), (8, 8, 3)),
        3,
    ),
    "JPEG, YCCK": ycck,
    "JPEG, a thumbnail in its EXIF": with_thumbnail,
    "JPEG, several (MPO)": partial(several, "MPO", quality=95),
    "PNG": partial(plain, "PNG"),
    "PNG, grey": lambda: Case(encode(Image.fromarray(RAMP), "PNG"), grey(RAMP)),
    "PNG, 1 bit": partial(one_bit, "PNG"),
    "PNG, 16-bit grey": lambda: Case(encode(Image.fromarray(GREY16), "PNG"), GREY16_SEEN),
    "PNG, 16-bit grey with alpha": lambda: Case(raw_png([25700, 65535, 25700, 0], 4, bits=16), [[[100] * 3, WHITE]]),
    "PNG, 16-bit RGB": lambda: Case(raw_png([51400, 7710, 15420], 2, bits=16), [[RED]]),
    "PNG, 16-bit RGBA": lambda: Case(raw_png([51400, 7710, 15420, 65535, 0, 0, 0, 0], 6, bits=16), [[RED, WHITE]]),
    "PNG, interlaced": lambda: Case(raw_png(RED, 2, interlaced=True), [[RED]]),
    "PNG, palette": partial(palette, "PNG"),
    "PNG, transparent palette": partial(transparent_palette, "PNG"),
    "PNG, one colour transparent": lambda: Case(
        raw_png([*RED, *BLUE], 2, png_chunk(b"tRNS", struct.pack(">HHH", *RED))), [[WHITE, BLUE]]
    ),
    "PNG, one grey transparent": lambda: Case(
        raw_png([7, 9], 0, png_chunk(b"tRNS", struct.pack(">H", 7))), [[WHITE, [9] * 3]]
    ),
    "PNG, RGBA": partial(with_alpha, "PNG"),
    "PNG, animated": partial(several, "PNG"),
    "WebP": partial(plain, "WEBP"),
    "WebP, lossy": lambda: Case(
        encode(Image.new("RGB", (16, 16), RED), "WEBP", quality=90), np.broadcast_to(RED, (16, 16, 3)), 8
    ),
    "WebP, RGBA": partial(with_alpha, "WEBP"),
    "WebP, animated": partial(several, "WEBP"),
    "BMP": partial(plain, "BMP"),
    "BMP, 1 bit": partial(one_bit, "BMP"),
    "BMP, palette": partial(palette, "BMP"),
    "BMP, 32 bit": lambda: Case(encode(Image.new("RGBA", (2, 1), (*RED, 255)), "BMP"), [[RED, RED]]),
    "BMP, top row first": upside_down_bmp,
    "TIFF": partial(plain, "TIFF"),
    "TIFF, LZW": partial(plain, "TIFF", compression="tiff_lzw"),
    "TIFF, Deflate": partial(plain, "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, JPEG": partial(plain, "TIFF", 40, compression="jpeg", quality=95),
    "TIFF, 1 bit, CCITT": partial(one_bit, "TIFF", compression="group4"),
    "TIFF, 16-bit grey": lambda: Case(tiff_of(GREY16), GREY16_SEEN),
    "TIFF, 16-bit grey, the other byte order": lambda: Case(tiff_of(GREY16.astype(">u2")), GREY16_SEEN),
    "TIFF, 32-bit grey": lambda: Case(tiff_of(np.array([[-5, 0, 25700, 70000]], np.int32)), grey([[0, 0, 100, 255]])),
    "TIFF, floats": lambda: Case(
        tiff_of(np.array([[np.nan, np.inf, -np.inf, 25700.0]], np.float32)), grey([[0, 255, 0, 100]])
    ),
    "TIFF, CMYK": lambda: Case(encode(Image.new("CMYK", (2, 1), (255, 0, 0, 0)), "TIFF"), [[(0, 255, 255)] * 2]),
    "TIFF, palette": partial(palette, "TIFF"),
    "TIFF, RGBA": partial(with_alpha, "TIFF"),
    "TIFF, several pages": partial(several, "TIFF"),
    "TIFF, tiles": tiled_tiff,
    "GIF": partial(palette, "GIF"),
    "GIF, transparent": partial(transparent_palette, "GIF"),
    "GIF, animated": partial(several, "GIF"),
    "GIF, a frame smaller than its screen": small_frame,
    "one pixel": lambda: Case(encode(Image.new("RGB", (1, 1), RED), "PNG"), [[RED]]),
    "one row": lambda: Case(encode(Image.new("RGB", (50_000, 1), RED), "PNG"), np.broadcast_to(RED, (1, 50_000, 3))),
    "one column": lambda: Case(
        encode(Image.new("RGB", (1, 50_000), RED), "JPEG", quality=95), np.broadcast_to(RED, (50_000, 1, 3)), 3
    ),
    **{
        f"{kind}, turned {value}": partial(turned, kind, value)
        for kind, values in (("JPEG", range(1, 9)), ("PNG", (6,)), ("WEBP", (6,)), ("TIFF", (6,)))
        for value in values
    },
}


def opened(data: bytes) -> Image.Image:
    """Open a picture as Pillow itself does."""
    return Image.open(io.BytesIO(data))
