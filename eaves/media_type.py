"""Detection of an image's media type from its file name or first bytes, without decoding it."""

from __future__ import annotations

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""File suffixes of the formats that `eaves.images` decodes."""
UNSUPPORTED_SUFFIXES = (".heic", ".heif", ".avif")
"""File suffixes of formats that phones and some cameras write and that `eaves.images` doesn't decode;
docs/model.md has the reason."""
UNKNOWN = "application/octet-stream"

UNSUPPORTED = ("image/heic", "image/avif")
"""Media types that `sniff` recognises although no function reads them, so that a refusal names them."""
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "image/heic"
)
"""Brand after `ftyp` in a file's first box to its media type. Source: ISO/IEC 23008-12, annex B; AV1 Image File
Format."""
_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"GIF8", "image/gif"),
)
_SUFFIX_OF = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
    "image/gif": ".gif",
}


def sniff(data: bytes) -> str:
    """Return the media type by the first bytes; `application/octet-stream` when unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), UNKNOWN)


def is_readable(data: bytes) -> bool:
    """Return whether data begin as an image in a format that functions read."""
    return sniff(data) not in (UNKNOWN, *UNSUPPORTED)


def suffix(media: str | None) -> str:
    """Return the usual file suffix of a media type, such as `.jpg`; empty for a type that `sniff` doesn't know."""
    return _SUFFIX_OF.get(media or "", "")


def is_image_path(relative: str) -> bool:
    """Return whether a relative path or key has an image's suffix and no hidden part."""
    return _has_suffix(relative, SUFFIXES)


def is_unsupported_path(relative: str) -> bool:
    """Return whether a relative path or key has the suffix of an image that no function reads, and no hidden part."""
    return _has_suffix(relative, UNSUPPORTED_SUFFIXES)


def _has_suffix(relative: str, suffixes: tuple[str, ...]) -> bool:
    return relative.lower().endswith(suffixes) and not any(part.startswith(".") for part in relative.split("/"))
