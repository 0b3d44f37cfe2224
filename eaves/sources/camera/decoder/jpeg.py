"""Check of a camera's JPEG image that is passed on as it is: complete, of an allowed size, and readable by itself."""

from __future__ import annotations

_TAIL_BYTES = 4_096
"""Number of bytes at the end that are searched for the end mark, because some cameras append padding."""
_MAX_SEGMENTS = 200
"""Maximum number of segments before the picture; cameras write about 20."""
_SOI, _EOI, _SOS, _DHT = b"\xff\xd8", b"\xff\xd9", 0xDA, 0xC4
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))


class JpegError(Exception):
    """A JPEG image that must not be passed on; the message says why."""


def check_jpeg(data: bytes) -> tuple[bytes, int, int]:
    """Check an image and return it without padding, with Huffman tables, and its width and height in pixels.

    Some cameras, V4L2's among them, leave out the Huffman tables, as Motion JPEG allows. A JPEG needs them.

    Raises:
        JpegError: When the image is incomplete or damaged.
    """
    if not data.startswith(_SOI):
        raise JpegError("the data are not a JPEG image")
    end = data.rfind(_EOI, max(0, len(data) - _TAIL_BYTES))
    if end < 0:
        raise JpegError("the JPEG image is incomplete")
    size, scan, has_tables = _read_header(data, end)
    data = data[: end + 2]
    if not has_tables:
        data = data[:scan] + build_huffman_tables() + data[scan:]
    return data, *size


def _read_header(data: bytes, end: int) -> tuple[tuple[int, int], int, bool]:
    """Return width and height, the position of the first scan, and whether Huffman tables precede it."""
    position, size, has_tables = 2, None, False
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > end or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _SOS:
            if size is None:
                break
            return size, position, has_tables
        if marker in _FRAMES and position + 9 <= end:
            size = int.from_bytes(data[position + 7 : position + 9]), int.from_bytes(data[position + 5 : position + 7])
        has_tables = has_tables or marker == _DHT
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    raise JpegError("the JPEG image is damaged")


def build_huffman_tables() -> bytes:
    """Return a segment with the Huffman tables that Motion JPEG images without tables use.

    Source: ITU-T T.81, annex K.3, tables K.3 to K.6.
    """
    return _DHT_SEGMENT


_DC = bytes(range(12))
_AC_LUMA = bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a"
    "25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a"
    "838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2"
    "d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMA = bytes.fromhex(
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718"
    "191a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a"
    "82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9ca"
    "d2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
_TABLES = (
    (0x00, bytes.fromhex("00010501010101010100000000000000"), _DC),
    (0x10, bytes.fromhex("0002010303020403050504040000017d"), _AC_LUMA),
    (0x01, bytes.fromhex("00030101010101010101010000000000"), _DC),
    (0x11, bytes.fromhex("00020102040403040705040400010277"), _AC_CHROMA),
)
_BODY = b"".join(bytes([number]) + counts + values for number, counts, values in _TABLES)
_DHT_SEGMENT = b"\xff\xc4" + (2 + len(_BODY)).to_bytes(2) + _BODY
