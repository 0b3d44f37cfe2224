"""Files that want more than a picture costs, made without an encoder that would refuse to."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def good(kind: str) -> bytes:
    return encode(noise(), kind)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG of these chunks between header and end."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def png_parts(data: bytes) -> bytes:
    """The compressed pixels of a PNG as Pillow writes it: the content of its IDAT chunks."""
    position, found = 8, b""
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        if data[position + 4 : position + 8] == b"IDAT":
            found += data[position + 8 : position + 8 + length]
        position += 12 + length
    return found


def png_with(*chunks: bytes) -> bytes:
    """A good PNG with further chunks before its pixels."""
    return png(60, 40, *chunks, png_chunk(b"IDAT", png_parts(good("PNG"))))


def huge_png(side: int = 13_000) -> bytes:
    """Valid, black, 20 KB."""
    packer, row = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, png_chunk(b"IDAT", packed), bits=1, colour=0)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with(*segments: bytes, quality: int = 75) -> bytes:
    """A good JPEG with further segments before its others."""
    return b"\xff\xd8" + b"".join(segments) + encode(noise(), "JPEG", quality=quality)[2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A good JPEG whose header claims another size."""
    data = bytearray(good("JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times."""
    data = encode(noise(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def gif(screen: tuple[int, int], frame: tuple[int, int], *blocks: bytes) -> bytes:
    """A GIF of these blocks before a frame that says it is so large."""
    head = struct.pack("<6sHHBBB", b"GIF89a", *screen, 0x80, 0, 0) + bytes(6)
    return head + b"".join(blocks) + struct.pack("<BHHHHB", 0x2C, 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00;"


def gif_comment(block: bytes, count: int) -> bytes:
    return b"!\xfe" + (bytes([len(block)]) + block) * count + b"\0"


def webp_of_size(width: int, height: int) -> bytes:
    content = b"\x00" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", 10) + content + good("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def bmp(width: int, height: int, *, compression: int = 0, pixels: bytes = b"") -> bytes:
    head = struct.pack("<2sIHHI", b"BM", 1078 + len(pixels), 0, 0, 1078)
    return (
        head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 256, 0) + bytes(1024) + pixels
    )


Tag = tuple[int, int, int, int]  # tag, type, count, value


def tiff(tags: Iterable[Tag], *, behind: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of one directory at 8, followed by something."""
    listed = [struct.pack("<HHII", *tag) for tag in sorted(tags)]
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(listed)) + b"".join(listed) + struct.pack("<I", following) + behind
    )


def grey_tiff(
    width: int, height: int, *more: Tag, behind: bytes = bytes(64), following: int = 0, striped: bool = True
) -> bytes:
    """An uncompressed one of 8-bit grey, its pixels behind the directory; what `more` says counts."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1}
    tags |= {273: 0, 278: height, 279: width * height} if striped else {}
    listed = {tag: (tag, 4, 1, value) for tag, value in tags.items()} | {tag[0]: tag for tag in more}
    if listed.get(273) == (273, 4, 1, 0):
        listed[273] = (273, 4, 1, 8 + 2 + 12 * len(listed) + 4)
    return tiff(listed.values(), behind=behind, following=following)


def tiff_of_directories(count: int) -> bytes:
    """A good picture, and behind it a chain of directories that leads back to itself."""
    first = grey_tiff(8, 8, following=8 + 2 + 12 * 9 + 4 + 64)
    start, size = len(first), 2 + 12 + 4
    chain = [struct.pack("<HHHIII", 1, 256, 4, 1, 8, start + size * ((number + 1) % count)) for number in range(count)]
    return first + b"".join(chain)


def exif_bomb(size: int) -> bytes:
    """EXIF whose thousands of tags all lie over the whole block."""
    count = 5_000
    tags = b"".join(struct.pack("<HHII", 0x9000 + number, 7, size - 100, 8) for number in range(count))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", count) + tags).ljust(size, b"\0")


def app_segments(marker: int, head: bytes, content: bytes) -> list[bytes]:
    return [jpeg_segment(marker, head + content[at : at + 65_000]) for at in range(0, len(content), 65_000)]


def cut(kind: str, share: int) -> bytes:
    data = good(kind)
    return data[: max(4, len(data) * share // 100)]


def overwritten(kind: str) -> bytes:
    data = good(kind)
    return data[:12] + b"\xff" * 24 + data[36:] if kind != "JPEG" else data[:2] + b"\xff\xc0\x00\x04" * 8 + data[36:]


HEADERS_OF_64000: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: jpeg_of_size(64_000, 64_000),
    "PNG": lambda: png(64_000, 64_000, png_chunk(b"IDAT", zlib.compress(b""))),
    "WEBP": lambda: webp_of_size(64_000, 64_000),
    "BMP": lambda: bmp(64_000, 64_000),
    "TIFF": lambda: grey_tiff(64_000, 64_000),
    "GIF": lambda: gif((64_000, 64_000), (8, 8)),
}

TOO_LARGE: dict[str, Callable[[], bytes]] = {
    **{f"a {kind} of 64000x64000": make for kind, make in HEADERS_OF_64000.items()},
    "a valid PNG of 13000x13000": huge_png,
    "a PNG one pixel wide and 2^31 high": lambda: png(1, 2**31 - 1),
    "a GIF whose frame is larger than its screen": lambda: gif((8, 8), (64_000, 64_000)),
    "a BMP of -64000 rows": lambda: bmp(64_000, -64_000),
}

CORRUPT: dict[str, Callable[[], bytes]] = {
    "text": lambda: b"hello",
    "HTML": lambda: b"<html><body>502 Bad Gateway</body></html>",
    "HEIC": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "AVIF": lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(100),
    "zeros": lambda: bytes(1_000_000),
    "a PNG without pixels": lambda: png(0, 0, png_chunk(b"IDAT", zlib.compress(b""))),
    "a PNG of 7000x7000 that is cut off": lambda: huge_png(7_000)[:3_000],
    "a PNG of 15 MB of noise": lambda: png(3_000, 3_000, png_chunk(b"IDAT", random.Random(0).randbytes(15_000_000))),
    "a JPEG with 15 MB of noise": lambda: good("JPEG")[:-600] + random.Random(0).randbytes(15_000_000),
    "a PNG of a million chunks": lambda: png_with(png_chunk(b"tIME", b"") * 1_000_000),
    "a PNG whose chunk is 2 GB long": lambda: png_with(b"\x7f\xff\xff\xffIDAT"),
    "a JPEG of a million segments": lambda: jpeg_with(jpeg_segment(0xE5, b"") * 1_000_000),
    "a JPEG of a thousand scans": lambda: jpeg_of_scans(1_000),
    "a JPEG of nothing but fill bytes": lambda: b"\xff\xd8" + b"\xff" * 5_000_000,
    "a BMP of 7000x7000 without pixels": lambda: bmp(7_000, 7_000),
    "a run-length encoded BMP": lambda: bmp(3_000, 3_000, compression=1, pixels=b"\x01\x00" * 4_000_000),
    "a GIF with a comment in a million blocks": lambda: gif((8, 8), (8, 8), gif_comment(b"x", 1_000_000)),
    "a TIFF whose tags lie over each other": lambda: grey_tiff(
        8, 8, *[(tag, 4, 1_000_000, 8) for tag in (273, 279, 324, 325, 529, 530)], behind=bytes(4_000_000)
    ),
    "a TIFF whose tag is 4 GB long": lambda: grey_tiff(8, 8, (273, 4, 2**30, 8)),
    "a TIFF with tiles of 2^20 x 2^20": lambda: grey_tiff(
        64, 64, (259, 3, 1, 8), (322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 200), (325, 4, 1, 64)
    ),
    "a TIFF with tiles of 6 million columns and no height": lambda: grey_tiff(
        64, 64, (259, 3, 1, 8), (322, 4, 1, 6_000_000), (324, 4, 1, 200), (325, 4, 1, 64)
    ),
    "a TIFF packed with LZMA": lambda: grey_tiff(64, 64, (259, 3, 1, 34925)),
    "a TIFF whose directory is itself": lambda: b"II*\0\x00\0\0\0" + bytes(100),
    "a TIFF with 65535 samples per pixel": lambda: grey_tiff(64, 64, (277, 3, 1, 65_535)),
    "a WebP whose chunk is 4 GB long": lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + bytes(50),
    **{f"the first {share} % of a {kind}": partial(cut, kind, share) for kind in KINDS for share in (3, 80)},
    **{f"a {kind} whose header is overwritten": partial(overwritten, kind) for kind in KINDS if kind != "GIF"},
}

HARMLESS: dict[str, Callable[[], bytes]] = {
    "a PNG with a profile of 100 MB, packed": lambda: png_with(
        png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(100_000_000), 1))
    ),
    "a PNG whose EXIF lies over itself": lambda: png_with(png_chunk(b"eXIf", exif_bomb(4_000_000))),
    "a JPEG whose EXIF lies over itself": lambda: jpeg_with(*app_segments(0xE1, b"Exif\0\0", exif_bomb(4_000_000))),
    "a JPEG with profiles of 10 MB": lambda: jpeg_with(*app_segments(0xE2, b"ICC_PROFILE\0\1\1", bytes(10_000_000))),
    "a GIF with a comment of 10 MB": lambda: gif((1, 1), (1, 1), gif_comment(b"x" * 255, 40_000)),
    "a TIFF of 5,000 directories in a ring": lambda: tiff_of_directories(5_000),
    "a TIFF of 30,000 tags of 4 MB": lambda: grey_tiff(
        8, 8, *[(tag, 7, 4_000_000, 8) for tag in range(30_000, 60_000)], behind=bytes(4_000_000)
    ),
    "a WebP of 300 frames": lambda: encode(
        noise(), "WEBP", save_all=True, append_images=[noise(60, 40).rotate(angle) for angle in range(1, 300)]
    ),
}
"""A picture that can be had for what a picture costs is had, whatever stands beside it."""
