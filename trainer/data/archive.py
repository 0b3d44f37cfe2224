"""Unpacks an untrusted archive of images into a folder.

Only plain files below the folder are written: no absolute paths, no `..`, no links, no devices, and no more bytes than
allowed however well they were compressed. Hidden files are left out.

Source: CWE-22, CWE-59 and CWE-409; Python's tarfile documentation, "Extraction filters".
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import shutil
import stat
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
_CHUNK_BYTES = 2**20
_CORRUPT = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, LZMAError, EOFError),
    RuntimeError,  # a password is needed; its subclass NotImplementedError: Python doesn't know the compression
    UnicodeError,  # a member's name is not in the declared encoding, or can't be a file's name
)
_UNFIT_NAME = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR})
"""Error numbers of the operating system when a member's name is too long, or is the name of a file and of a folder."""


def unpack_once(file: Path, cache: Path, *, limit_bytes: int) -> Path:
    """Unpack an archive into `cache`, whole or not at all, unless it is there already.

    Returns:
        folder: Folder that holds the class folders: the archive's root, or the only folder in it.

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
    top = list(target.iterdir())
    has_folders = len(top) == 1 and top[0].is_dir() and any(entry.is_dir() for entry in top[0].iterdir())
    return top[0] if has_folders else target


def _unpack(archive: Path, folder: Path, limit_bytes: int) -> None:
    """Unpack into a new folder; a failure may leave some of the files behind."""
    left = limit_bytes
    folder.mkdir()
    try:
        for name, stream in _list_members(archive):
            parts = PurePosixPath(name).parts
            if leaves_root(name):
                raise _refuse(archive, name, "it is not below the archive's root")
            if stream is None:
                raise _refuse(archive, name, "it is a link or a device")
            if parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
                continue
            try:
                folder.joinpath(*parts).parent.mkdir(parents=True, exist_ok=True)
                file = folder.joinpath(*parts).open("wb")
            except OSError as error:
                if error.errno not in _UNFIT_NAME:
                    raise
                raise _refuse(archive, name, str(error.strerror)) from error
            with file:
                while chunk := stream.read(_CHUNK_BYTES):
                    left -= file.write(chunk)
                    if left < 0:
                        message = f"{archive.name} unpacks to more than {limit_bytes / 1e9:.3g} GB"
                        raise DatasetError(message, hint="raise data.unpacked_gb if you trust the archive")
    except _CORRUPT as error:
        raise DatasetError(
            f"can't unpack {archive.name}: {error}", hint="check the archive, or create it again"
        ) from error


def _list_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield name and content of every member but folders; the content of a link or a device is None."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    yield info.filename, None
                elif not info.is_dir():
                    with opened.open(info) as stream:
                        yield info.filename, stream
        return
    with tarfile.open(archive, "r:gz" if archive.name.lower().endswith("gz") else "r:") as packed:
        for member in packed:
            if not member.isdir():
                yield member.name, packed.extractfile(member) if member.isfile() else None


def _refuse(archive: Path, member: str, reason: str) -> DatasetError:
    message = f"{archive.name}: {member[:120]!r} can't be unpacked: {reason}"
    return DatasetError(message, hint="archive plain files in one folder per class")
