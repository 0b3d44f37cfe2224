"""Parsers of image files' structure: format, size and orientation, and the bytes that decoding the picture needs.

Every loop is bounded, whatever the file says. The decoder refuses what these parsers can't read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eaves.errors import ImageError
from eaves.images import tiff
from eaves.media_type import UNSUPPORTED, sniff

MAX_PARTS = 50_000
"""Maximum number of segments, chunks or blocks in one file; a 20 MB PNG written in pieces of 8 KB has 2,500."""
MAX_SCANS = 24
"""Maximum number of scans in one JPEG; each scan costs one pass over the image, 0.6 ms per megapixel. Progressive files
have about 10.

Source: libjpeg-turbo, "Two issues with the JPEG standard" (2016), issue 2.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The parsed structure of an image file.

    Attributes:
        format: Pillow's name of the format.
        data: Bytes for the decoder.
        size: (width, height) in pixels as stored; None when the header doesn't say it, and the decoder then refuses the
            file.
        orientation: EXIF orientation, 1 to 8, that the decoder applies.
        buffered: Whether decoding holds the whole image in memory, even when fewer pixels are requested.
        scalable: Whether the decoder can make a smaller picture directly, as it can for a JPEG with a cosine transform.
    """

    format: str
    data: bytes
    size: tuple[int, int] | None
    orientation: int = 1
    buffered: bool = True
    scalable: bool = False


def open_envelope(data: bytes) -> Envelope:
    """Parse a file's structure.

    Raises:
        ImageError: When the format is not known, or the file is built to cost more than its picture.
    """
    kind = sniff(data)
    if kind in _OPENERS:
        return _OPENERS[kind](data)
    if kind in UNSUPPORTED:
        raise ImageError(
            "HEIC and AVIF images are not supported",
            hint="send JPEG; on an iPhone: Settings, Camera, Formats, Most Compatible",
        )
    raise ImageError(
        f"the data is not an image in a supported format ({len(data)} bytes)",
        hint="send JPEG, PNG, WebP, BMP, TIFF or GIF",
    )


def read_orientation(exif: bytes) -> int | None:
    """Return the orientation in a block of EXIF, 1 to 8; None without one. Only the first directory is read.

    Source: Exif 2.32, section 4.6.2 (a TIFF structure); tag 0x0112.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8 or exif[2:4] not in {b"*\0", b"\0*"}:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for position in range(start + 2, min(start + 2 + count * 12, len(exif) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", exif, position)
        if tag == tiff.ORIENTATION and kind in {3, 4} and values == 1:
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, position + 8)
            return value if 1 <= value <= 8 else None
    return None


_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")  # the last of several 0xff; `\xff+` would be quadratic
_SCAN_END = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
_LOSSLESS = frozenset((0xC3, 0xC7, 0xCB, 0xCF))
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xDA)))
_APP0, _APP1, _APP14, _APP15, _COMMENT, _SCAN, _END = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE, 0xDA, 0xD9


def _open_jpeg(data: bytes) -> Envelope:
    """Open a JPEG and keep no application segments except JFIF's and Adobe's, which define the colours.

    So a phone's MPO, a JPEG followed by further ones, becomes a plain JPEG. Source: ITU-T T.81, annex B.
    """
    view, exif, size, scans = memoryview(data), b"", None, 0
    kept, sequential, scalable = [view[:2]], False, True
    for start, kind, end in _jpeg_segments(data):
        content = data[start + 4 : end] if kind != _SCAN else b""
        if kind in _FRAMES and size is None and len(content) >= 5:
            size = struct.unpack_from(">HH", content, 1)[::-1]
            sequential, scalable = kind in _SEQUENTIAL, kind not in _LOSSLESS
        scans += kind == _SCAN
        if scans > MAX_SCANS:
            raise ImageError(f"the image is corrupt: a JPEG with more than {MAX_SCANS} scans")
        if kind == _APP1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        colours = (kind == _APP0 and content.startswith(b"JFIF")) or (kind == _APP14 and content.startswith(b"Adobe"))
        if colours or not (_APP0 <= kind <= _APP15 or kind == _COMMENT):
            kept.append(view[start:end])
    return Envelope(
        format="JPEG",
        data=b"".join(kept),
        size=size,
        orientation=read_orientation(exif) or 1,
        buffered=not sequential or scans > 1,
        scalable=scalable,
    )


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Return start, marker and end of each segment; a scan includes its coded data."""
    position, single, scanned = 2, b"", False
    for _ in range(MAX_PARTS):
        match = _JPEG_MARKER.search(data, position)
        if match is None:
            return
        start, kind, end = match.start(), match[1][0], match.end()
        if kind not in _JPEG_BARE:
            end += max(2, int.from_bytes(data[end : end + 2], "big"))
        if kind in _SEQUENTIAL:
            single = data[start + 9 : start + 10]
        if kind == _SCAN:
            # A sequential picture whose first scan has all components has no further scan: libjpeg refuses one.
            after = None if single == data[start + 4 : start + 5] else _SCAN_END.search(data, end)
            end, scanned = after.start() if after else len(data), True
        yield start, kind, min(end, len(data))
        if kind == _END and scanned:
            return
        position = end
    raise ImageError(f"the image is corrupt: a JPEG with more than {MAX_PARTS} segments")


_PNG_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))


def _open_png(data: bytes) -> Envelope:
    """Open a PNG and drop its text, profiles and further frames. Source: PNG, third edition, section 5."""
    view, exif, size, position = memoryview(data), b"", None, 8
    kept = [view[:8]]
    for _ in range(MAX_PARTS):
        kind, end = data[position + 4 : position + 8], position + 12 + int.from_bytes(data[position : position + 4])
        content = data[position + 8 : end - 4] if kind == b"eXIf" else b""
        if kind == b"IHDR" and size is None and position + 16 <= len(data):
            size = struct.unpack_from(">II", data, position + 8)
        elif kind == b"eXIf":
            exif = content
        if kind in _PNG_PIXELS:
            kept.append(view[position:end])
        position = end
        if kind == b"IEND" or position >= len(data):
            return Envelope(format="PNG", data=b"".join(kept), size=size, orientation=read_orientation(exif) or 1)
    raise ImageError(f"the image is corrupt: a PNG with more than {MAX_PARTS} chunks")


def _open_gif(data: bytes) -> Envelope:
    """Open a GIF and keep it up to its first picture, without comments. Source: GIF89a, sections 18 to 23."""
    if len(data) < 13:
        return Envelope(format="GIF", data=data, size=None)
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    kept, control = data[:position], b""
    for _ in range(MAX_PARTS):
        kind = data[position : position + 1]
        if kind == b"," and position + 9 <= len(data):
            left, top, wide, high = struct.unpack_from("<HHHH", data, position + 1)
            size = max(width, left + wide), max(height, top + high)
            return Envelope(format="GIF", data=b"".join((kept, control, memoryview(data)[position:])), size=size)
        if kind != b"!":
            if kind in {b"", b";", b","}:
                break
            position += 1
            continue
        label, start = data[position + 1 : position + 2], position
        position += 2
        for _ in range(MAX_PARTS):
            length = data[position] if position < len(data) else 0
            position += 1 + length
            if length == 0:
                break
        if label == b"\xf9":
            control = data[start:position]
    raise ImageError("the image is corrupt: a GIF without an image")


def _open_webp(data: bytes) -> Envelope:
    """Open a WebP and keep it unchanged, as Pillow decodes only one frame of it. Source: RFC 9649, section 2."""
    kind, size = data[12:16], None
    if kind == b"VP8X" and len(data) >= 30:
        size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8 " and len(data) >= 30:
        size = int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    elif kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    exif, position, flags = b"", 12, data[20] if kind == b"VP8X" and size else 0
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            return Envelope(format="WEBP", data=data, size=size, orientation=read_orientation(exif) or 1)
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        name = data[position : position + 4]
        if name == b"EXIF" and flags & 8:
            exif = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    raise ImageError(f"the image is corrupt: a WebP with more than {MAX_PARTS} chunks")


def _open_bmp(data: bytes) -> Envelope:
    """Open a BMP and keep it unchanged; refuse run-length encoding (10 s for 20 MB). Source: MS-WMF, 2.2.2.3."""
    if len(data) < 34:
        return Envelope(format="BMP", data=data, size=None)
    if struct.unpack_from("<I", data, 14) == (12,):
        return Envelope(format="BMP", data=data, size=struct.unpack_from("<HH", data, 18))
    width, height, compression = struct.unpack_from("<ii4xI", data, 18)
    if compression in {1, 2}:
        raise ImageError(
            "run-length encoded BMP images are not supported", hint="save the image as uncompressed BMP, or as PNG"
        )
    return Envelope(format="BMP", data=data, size=(abs(width), abs(height)))


def _open_tiff(data: bytes) -> Envelope:
    # Pillow itself applies a TIFF's orientation.
    size, picture = tiff.keep_picture(data)
    return Envelope(format="TIFF", data=picture, size=size)


_OPENERS: dict[str, Callable[[bytes], Envelope]] = {
    "image/jpeg": _open_jpeg,
    "image/png": _open_png,
    "image/webp": _open_webp,
    "image/bmp": _open_bmp,
    "image/tiff": _open_tiff,
    "image/gif": _open_gif,
}
