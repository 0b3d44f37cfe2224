"""Unpacks an untrusted archive of images into a folder.

Only plain files below the folder are written: no absolute paths, no `..`, no links, no devices, and no more bytes than
allowed however well they were compressed. Hidden files are left out.

Source: CWE-22, CWE-59 and CWE-409; Python's tarfile documentation, "Extraction filters".
"""

from __future__ import annotations

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
from typing import Any

from eaves.base.disk_errors import FULL, READ_ONLY, disk_errors
from eaves.base.locks import unfinished_folder
from eaves.errors import DatasetError
from trainer.data.listing import leaves_root

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_CORRUPT = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, LZMAError, EOFError),
    RuntimeError,  # a password is needed; its subclass NotImplementedError: Python doesn't know the compression
    UnicodeError,  # a member's name is not in the declared encoding, or can't be a file's name
    OSError,  # a member's name is too long, or is the name of a file and of a folder
)


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
    is_zip, chosen, left = archive.name.lower().endswith(".zip"), [], limit_bytes
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as opened:
            for member, name, size, is_plain in _list_members(opened):
                if leaves_root(name) or not is_plain:
                    reason = "it is a link or a device" if not is_plain else "it is not below the archive's root"
                    raise DatasetError(
                        f"{archive.name}: {name[:120]!r} can't be unpacked: {reason}",
                        hint="archive plain files in one folder per class",
                    )
                parts = PurePosixPath(name).parts
                if parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
                    continue
                chosen.append(member)
                left -= size  # neither module writes more than the size that a member declares
                if left < 0:
                    message = f"{archive.name} unpacks to more than {limit_bytes / 1e9:.3g} GB"
                    raise DatasetError(message, hint="raise data.unpacked_gb if you trust the archive")
            options: dict[str, Any] = {} if is_zip else {"filter": "data"}
            opened.extractall(folder, chosen, **options)  # noqa: S202 - names are checked
    except _CORRUPT as error:
        if isinstance(error, OSError) and error.errno in FULL | READ_ONLY:
            raise
        why = (error.strerror if isinstance(error, OSError) else "") or error
        hint = "check the archive, or create it again"
        raise DatasetError(f"can't unpack {archive.name}: {why}", hint=hint) from error


def _list_members(opened: Any) -> Iterator[tuple[Any, str, int, bool]]:
    """Yield each member but folders, with its name, its size in bytes, and whether it is a plain file."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            if not info.is_dir():
                yield info, info.filename, info.file_size, not stat.S_ISLNK(info.external_attr >> 16)
        return
    for member in opened:
        if not member.isdir():
            yield member, member.name, member.size, member.isfile()
