"""Unpacks an untrusted archive into a folder per class.

Only plain files and folders below the target are written: no absolute paths, no `..`, no links, no devices, and no more
bytes than allowed however well they were compressed.

Source: CWE-22, CWE-59 and CWE-409; Python's tarfile documentation, "Extraction filters".
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from eaves.base.disk_errors import disk_errors
from eaves.base.locks import unfinished_folder
from eaves.errors import DatasetError
from trainer.data.listing import leaves_root

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_BYTES = 50_000_000_000
"""Maximum size of the unpacked files, bytes; protects the disk from an archive that is made to fill it."""
_CHUNK_BYTES = 2**20
_CORRUPT = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    LZMAError,
    EOFError,
    RuntimeError,
    UnicodeError,
)
"""Errors that a damaged or unsupported archive raises. RuntimeError is raised when a password is needed; its subclass
NotImplementedError when Python doesn't know the compression; UnicodeError when a member's name is not in the archive's
declared encoding or can't be a file's name."""
_UNFIT_NAME = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR})
"""Error numbers of the operating system when a member's name is too long, or is the name of a file and of a folder."""


def unpack_once(file: Path, cache: Path, *, limit_bytes: int = MAX_BYTES) -> Path:
    """Unpack an archive into `cache`, whole or not at all, unless it is there already; return its folder.

    Raises:
        DatasetError: The archive is damaged, too large, or has members that no dataset has.
        StorageError: The archive can't be read, or the disk is full or read-only.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise DatasetError(f"can't read the archive {file}: {error.strerror}", hint="check the path") from error
    place = cache / hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:32]
    target = place / f"{status.st_mtime_ns}-{status.st_size}"
    if not target.is_dir():
        with disk_errors(place), unfinished_folder(target) as work:
            if not target.is_dir():  # another training may have unpacked it meanwhile
                for older in place.iterdir():
                    if older != work:
                        shutil.rmtree(older, ignore_errors=True)
                _unpack(file, work / "files", limit_bytes)
                (work / "files").rename(target)
    return _top(target)


def _unpack(archive: Path, folder: Path, limit_bytes: int) -> None:
    """Unpack an archive into a new folder; a failure may leave some of its files behind."""
    left, name = limit_bytes, archive.name
    try:
        folder.mkdir()
        for member, stream in (_zip if name.lower().endswith(".zip") else _tar)(archive, name):
            left -= _write(stream, folder, member, name, left)
            if left < 0:
                message = f"{name} unpacks to more than {limit_bytes / 1e9:.3g} GB"
                raise DatasetError(message, hint="unpack it yourself if you trust it, and name the folder")
    except _CORRUPT as error:
        raise DatasetError(f"can't unpack {name}: {error}", hint="check the archive, or create it again") from error


def _top(folder: Path) -> Path:
    """Return the folder that holds the class folders: `folder`, or the only folder in it if that has subfolders."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if len(entries) != 1 or not entries[0].is_dir() or not any(entry.is_dir() for entry in entries[0].iterdir()):
        return folder
    return entries[0]


def _zip(archive: Path, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise _refuse(name, info.filename, "can't be unpacked: it is a link")
            if not info.is_dir():
                with opened.open(info) as stream:
                    yield info.filename, stream


def _tar(archive: Path, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:gz" if name.lower().endswith("gz") else "r:") as opened:
        for info in opened:
            if not (info.isfile() or info.isdir()):
                raise _refuse(name, info.name, "can't be unpacked: it is a link or a device")
            stream = opened.extractfile(info)
            if stream is not None:
                with stream:
                    yield info.name, stream


def _write(stream: IO[bytes], work: Path, member: str, name: str, limit_bytes: int) -> int:
    """Write one member and return its size in bytes; writing stops once the size exceeds the limit."""
    if leaves_root(member):
        raise _refuse(name, member, "can't be unpacked: it is not below the archive's root")
    parts = PurePosixPath(member).parts
    if parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
        return 0
    path = work.joinpath(*parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("wb")
    except OSError as error:
        if error.errno not in _UNFIT_NAME:
            raise
        raise _refuse(name, member, f"can't be unpacked: {error.strerror}") from error
    size = 0
    with opened as file:
        while size <= limit_bytes and (chunk := stream.read(_CHUNK_BYTES)):
            size += file.write(chunk)
    return size


def _refuse(name: str, member: str, reason: str) -> DatasetError:
    return DatasetError(f"{name}: {member[:120]!r} {reason}", hint="archive plain files in one folder per class")
