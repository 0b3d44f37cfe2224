"""Reader of the images in a folder or an archive, in order, with one image in memory at a time.

Files of a folder are sorted by modification time; members of an archive keep its order. Members are never written to
disk; their names appear only in events and messages.
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eaves.errors import StorageError
from eaves.media_type import is_image_path
from eaves.sources.folder.reader import FileVersion, read_file, scan

MAX_TIME_S = 253_402_300_800
"""End of the year 9999, Unix seconds. The times in a tar may be any number, even infinite; later ones count as 1970."""
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(OSError, ValueError, RuntimeError, NotImplementedError),  # encrypted, or packed in a way that Python can't undo
)
"""Exceptions that the standard library raises for archives that are damaged or in an unknown format."""
IN_A_LOOP = ", or set loop: true, with which ids are not remembered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One image of a recording.

    Attributes:
        path: Path within the folder or archive.
        mtime_ns: Modification time, nanoseconds since 1970.
        size_bytes: Size in bytes.
        read: Reads the image; may raise any of `DAMAGED`. Returns None when the image is gone.
    """

    path: str
    mtime_ns: int
    size_bytes: int
    read: Callable[[], bytes | None]


def open_recording(
    path: Path, unsupported: Callable[[str], None], *, max_in_folder: int, max_in_archive: int | None
) -> Iterator[Recorded]:
    """Yield the images at a path, in order. Each image must be read before the next one is requested.

    Args:
        path: Path of a folder or an archive.
        unsupported: Called with the path of each image in a format that no function reads.
        max_in_folder: Maximum number of images in a folder.
        max_in_archive: Maximum number of images in an archive; None for no limit.

    Raises:
        StorageError: When the path is neither a folder nor an archive, can't be read to its end, or holds more images
            than the maximum. For a tar, this error comes only after the maximum number of images was read.
    """
    if path.is_dir():
        yield from _iter_folder(path, unsupported, max_in_folder)
        return
    if not path.is_file():
        raise StorageError(f"{path} is neither a folder nor an archive", hint=f"ls -l {path}")
    try:
        if zipfile.is_zipfile(path):
            yield from _iter_zip(path, max_in_archive)
        else:
            yield from _iter_tar(path, max_in_archive)
    except DAMAGED as error:
        raise StorageError(f"{path} can't be read as an archive: {str(error)[:160]}", hint=f"ls -l {path}") from error


def _iter_folder(root: Path, unsupported: Callable[[str], None], limit: int) -> Iterator[Recorded]:
    found: list[tuple[FileVersion, str]] = []
    for path, version in scan(root, lambda *_: None, unsupported):
        if len(found) == limit:
            raise _too_many(root, limit, "")
        found.append((version, path))
    for version, path in sorted(found):
        yield Recorded(
            path=path,
            mtime_ns=version.mtime_ns,
            size_bytes=version.size_bytes,
            read=lambda path=path, version=version: read_file(root, path, version),  # type: ignore[misc]
        )


def _too_many(path: Path, limit: int, otherwise: str) -> StorageError:
    return StorageError(f"{path} contains more than {limit} images; split it{otherwise}", hint=f"ls -l {path}")


def _iter_zip(file: Path, limit: int | None) -> Iterator[Recorded]:
    with zipfile.ZipFile(file) as archive:
        images = [member for member in archive.infolist() if _is_zipped_image(member)]
        if limit is not None and len(images) > limit:
            raise _too_many(file, limit, IN_A_LOOP)
        for member in images:
            yield Recorded(
                path=member.filename,
                mtime_ns=_zip_time_ns(member),
                size_bytes=member.file_size,
                read=lambda member=member: archive.read(member),  # type: ignore[misc]
            )


def _is_zipped_image(member: zipfile.ZipInfo) -> bool:
    return not member.is_dir() and _is_image(member.filename) and not stat.S_ISLNK(member.external_attr >> 16)


def _zip_time_ns(member: zipfile.ZipInfo) -> int:
    """Return the modification time of a zip's member, nanoseconds since 1970.

    The times in a zip have no time zone and are taken as local times, as other programs take them.
    """
    try:
        return int(time.mktime((*member.date_time, 0, 0, -1))) * 10**9
    except (ValueError, OverflowError):
        return 0


def _iter_tar(file: Path, limit: int | None) -> Iterator[Recorded]:
    count = 0
    with tarfile.open(file) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else the list of all members grows in memory
            if not member.isreg() or not _is_image(member.name):
                continue
            if count == limit:
                raise _too_many(file, count, IN_A_LOOP)
            count += 1
            yield Recorded(
                path=member.name,
                mtime_ns=_tar_time_ns(member),
                size_bytes=member.size,
                read=lambda member=member: _read_tar(archive, member),  # type: ignore[misc]
            )


def _tar_time_ns(member: tarfile.TarInfo) -> int:
    return int(member.mtime * 1e9) if abs(member.mtime) < MAX_TIME_S else 0


def _read_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    if stream is None:
        raise ValueError(f"{member.name[:100]!r} is not a file")
    with stream:
        data = stream.read(member.size)
    if len(data) < member.size:
        raise EOFError(f"{member.name[:100]!r} ends too early")
    return data


def _is_image(name: str) -> bool:
    return is_image_path(PurePosixPath(name).as_posix())
