"""Scan of the image files in a folder, one at a time, so that memory doesn't depend on the folder's size."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from eaves.media_type import is_image_path, is_unsupported_path
from eaves.sources.folder.reader import FileVersion, open_folder


def scan(
    root: Path, unreadable: Callable[[str, OSError], None], unsupported: Callable[[str], None]
) -> Iterator[tuple[str, FileVersion]]:
    """Yield path and version of every regular image file below the folder, in no particular order.

    Memory holds the names of the folders that are still to be listed, but no names of files. Symbolic links aren't
    followed. Files that disappear during the scan are left out.

    Args:
        root: Folder to scan.
        unreadable: Called with each folder below it that can't be listed, and the error.
        unsupported: Called with each image in a format that no function reads (HEIC, AVIF).

    Raises:
        StorageError: When `root` itself can't be opened, or disappears before the scan has ended.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        prefix = f"{folder}/" if folder else ""
        try:
            with open_folder(root, folder, listing=True) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    relative = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            pending.append(relative)
                    elif is_image_path(relative) and (version := _version(entry)) is not None:
                        yield relative, version
                    elif is_unsupported_path(relative) and entry.is_file(follow_symlinks=False):
                        unsupported(relative)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the folder was removed, or replaced by a file or a link
        except OSError as error:
            unreadable(folder, error)


def _version(entry: os.DirEntry[str]) -> FileVersion | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return FileVersion.of(status) if stat.S_ISREG(status.st_mode) else None
