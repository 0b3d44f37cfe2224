"""Stores files by name in one location: a folder on disk, or a URI that fsspec knows, such as `s3://` or `gs://`.

A write is atomic. On disk it is `eaves.base.files.write_atomically`; on an object store it is one PUT (or
one completed multipart upload), which readers see whole or not at all.
"""

from __future__ import annotations

import builtins
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.base.disk_errors import FULL, READ_ONLY, build_disk_error
from eaves.base.files import STAGING_SUFFIX, write_atomically
from eaves.errors import EavesError, StorageError

if TYPE_CHECKING:
    import numpy.typing as npt

DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)
"""Errors of `FileStore.read_arrays` and its result for a damaged file."""


class FileStore:
    """Files in one location; safe to use from several threads.

    Names are relative, with `/` between their parts.

    Args:
        filesystem: Filesystem of fsspec, without a cache of listings, because other processes write there too.
        root: Location as `filesystem` names it.
        uri: Location as people name it.
        local: Whether the location is a folder on this machine.
    """

    def __init__(self, filesystem: Any, root: str, uri: str, *, local: bool) -> None:
        self._files, self._root, self.uri, self.is_local = filesystem, root.rstrip("/"), uri, local

    def at(self, name: str) -> FileStore:
        """Return the store of the files under `name`."""
        return FileStore(self._files, f"{self._root}/{name}", f"{self.uri.rstrip('/')}/{name}", local=self.is_local)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return a file's bytes, or those from `start` to before `end`.

        Raises:
            StorageError: The file doesn't exist or can't be read.
        """
        with translated("read", self.uri, name):
            data: bytes = self._files.cat_file(f"{self._root}/{name}", start=start, end=end)
            return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically and replace one of that name; the file is durable when this returns.

        Raises:
            StorageError: The file can't be written.
        """
        with translated("write", self.uri, name):
            if self.is_local:
                path = Path(self._root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data, mode=None)
            else:
                self._files.pipe_file(f"{self._root}/{name}", data)

    def read_arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays in a file of `write_arrays`; a damaged file is one of the errors in `DAMAGED`."""
        import numpy as np  # the console of a site reads runs without NumPy

        with np.load(io.BytesIO(self.read(name)), allow_pickle=False) as stored:
            return dict(stored)

    def write_arrays(self, name: str, /, **arrays: npt.NDArray[Any]) -> None:
        """Write arrays by name as one file of NumPy's format `.npz`, as `write` does."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self.write(name, buffer.getvalue())

    def exists(self, name: str) -> bool:
        """Return whether a file of that name exists.

        Raises:
            StorageError: The location can't be read.
        """
        with translated("read", self.uri, name):
            try:
                return bool(self._files.info(f"{self._root}/{name}")["type"] == "file")
            # `isfile` returns False on any failure, such as a lost connection
            except (FileNotFoundError, NotADirectoryError):
                return False

    def list(self, prefix: str = "") -> list[str]:
        """Return the names of all files whose name starts with `prefix`, sorted, at any depth.

        Raises:
            StorageError: The location can't be listed.
        """
        folder = prefix.rpartition("/")[0]
        with translated("list", self.uri, prefix):
            where = f"{self._root}/{folder}".rstrip("/")
            found = [str(path).removeprefix(f"{self._root}/") for path in self._files.find(where)]
        return sorted(name for name in found if name.startswith(prefix) and not name.endswith(STAGING_SUFFIX))

    def folders(self) -> builtins.list[str]:
        """Return the names of the folders directly in the location, sorted; none if it doesn't exist.

        Raises:
            StorageError: The location can't be listed.
        """
        with translated("list", self.uri, ""):
            try:
                found = self._files.ls(self._root, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(str(item["name"]).rstrip("/").rpartition("/")[2] for item in found if item["type"] == "directory")

    def delete(self, name: str) -> None:
        """Remove a file; a missing file is no error.

        Raises:
            StorageError: The file can't be removed.
        """
        with translated("delete", self.uri, name):
            try:
                self._files.rm_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return


def is_uri(place: str | Path) -> bool:
    """Return whether a location is named by a URI and not by a path."""
    return "://" in str(place)


def open_store(place: str | Path) -> FileStore:
    """Open the store of a path or a URI; nothing is created or checked yet.

    The protocol's package reads credentials and endpoints from its usual places
    (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, a pod's service account).

    Raises:
        StorageError: The protocol is unknown, or the package that implements it is not installed.
    """
    if not is_uri(place):  # a path is no URI: fsspec would take `a%20b` for the name of the folder `a b`
        import fsspec

        return FileStore(fsspec.filesystem("file"), str(Path(place).absolute()), str(place), local=True)
    filesystem, root = open_filesystem(str(place))
    return FileStore(filesystem, root, str(place), local=str(place).startswith("file:"))


def open_filesystem(uri: str) -> tuple[Any, str]:
    """Return the filesystem of a URI and the name that the URI has there.

    Raises:
        StorageError: The protocol is unknown, or the package that implements it is not installed.
    """
    import fsspec

    protocol = uri.partition("://")[0].lower()
    # aiohttp reads HTTPS_PROXY and similar variables only if `trust_env` is set; botocore always reads them.
    options: dict[str, Any] = {"client_kwargs": {"trust_env": True}} if protocol in ("http", "https") else {}
    try:
        filesystem, root = fsspec.core.url_to_fs(uri, use_listings_cache=False, **options)
    except (ImportError, ValueError) as error:
        hint = f"use a path, or a URI such as s3://BUCKET/NAME, for which the package of {protocol}:// is installed"
        raise StorageError(f"can't open {uri}: {error}", hint=hint) from error
    return filesystem, str(root)


@contextmanager
def translated(verb: str, uri: str, name: str) -> Iterator[None]:
    """Turn every error of a filesystem into a StorageError, except those of Eaves."""
    try:
        yield
    except EavesError:
        raise
    except OSError as error:
        if error.errno in FULL | READ_ONLY and not is_uri(uri):
            raise build_disk_error(error, Path(uri, name)) from error
        raise _build_error(verb, uri, name, error) from error
    except Exception as error:
        # Every protocol's package raises its own errors (botocore's, aiohttp's, google's), which have no common base
        # class.
        raise _build_error(verb, uri, name, error) from error


def _build_error(verb: str, uri: str, name: str, error: Exception) -> StorageError:
    hint = "check that the address is right and reachable, and that this process may read and write there"
    where = f"{uri.rstrip('/')}/{name}".rstrip("/")
    return StorageError(f"can't {verb} {where}: {str(error)[:300] or type(error).__name__}", hint=hint)
