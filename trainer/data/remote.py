"""Mirrors a URI into local files with fsspec, and unpacks archives; what is unchanged is not downloaded again.

A mirror is a folder `files` and a file `index.jsonl` beside it, which has a line for every downloaded file with the
version that its server reported (ETag, time, size). The line for a file is written after the file, so an interrupted
download leaves no line.

Of an untrusted archive only plain files below the folder are written: no absolute paths, no `..`, no links, no devices,
and no more bytes than allowed however well they were compressed. Hidden files are left out.

Source: CWE-22, CWE-59 and CWE-409; Python's tarfile documentation, "Extraction filters".
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import stat
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from eaves.base.backoff import Backoff
from eaves.base.disk_errors import FULL, READ_ONLY, disk_errors
from eaves.base.locks import unfinished_folder
from eaves.errors import DatasetError, EavesError, StorageError
from eaves.labels import LABELS
from trainer.data.listing import MANIFEST_SUFFIX, DataFault, is_file, leaves_root, parse_manifest, suffix_fault
from trainer.progress import TrainingProgress
from trainer.storage import open_filesystem, translated

SCHEMES = ("s3", "gs", "http", "https", "file")
"""Supported URI schemes. Other protocols of fsspec, and chains of protocols (`zip::http://...`), are refused."""
MAX_DOWNLOADS = 16
"""Number of parallel downloads; images are small, so most of the time is spent waiting for the first byte."""
ATTEMPTS = 4
"""Maximum number of attempts to download a file, with pauses of one, two and four seconds between them, so that one
broken connection doesn't end a night's training."""
_VERSION = ("ETag", "etag", "md5Hash", "Content-MD5", "LastModified", "Last-Modified", "mtime", "updated", "size")

Remote = tuple[str, str]
"""A remote file: its path in the local mirror's folder, and its path in fsspec."""


def redact_uri(uri: str) -> str:
    """Return a URI without its secrets: the query of a presigned URL, and a password."""
    if not uri.startswith(("http://", "https://")):
        return uri
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def mirror(
    uri: str, cache: Path, progress: TrainingProgress, *, attempts: int = ATTEMPTS
) -> tuple[Path, tuple[DataFault, ...]]:
    """Download the files of `uri` into `cache` unless they are there already.

    Args:
        uri: URI of a folder (not over HTTP, which has no listing), a manifest or an archive.
        cache: Local folder that is kept between runs.
        progress: Receives one step for each file.
        attempts: Maximum number of attempts for each file.

    Returns:
        path: The local folder, manifest or archive.
        faults: Faults of the files left out.

    Raises:
        DatasetError: The URI holds nothing or can't be used.
        StorageError: The URI can't be reached or read.
    """
    place = _Mirror(uri, cache, progress, attempts)
    if place.name.lower().endswith(ARCHIVES):
        return place.fetch_itself(), ()
    if place.name.lower().endswith(MANIFEST_SUFFIX):
        file = place.fetch_itself()
        parent = place.root.partition("?")[0].rpartition("/")[0]
        wanted = [path for path in parse_manifest(file) if not suffix_fault(path)]
        place.fetch([(path, f"{parent}/{path}") for path in wanted], missing_ok=True)
        return file, ()
    if uri.lower().startswith("http"):
        message = f"{redact_uri(uri)}: a folder can't be listed over HTTP"
        raise DatasetError(message, hint="name a manifest (.csv) or an archive (.zip, .tar, .tar.gz) instead")
    return place.folder, place.fetch_folder(uri)


def mirror_file(uri: str, cache: Path, progress: TrainingProgress) -> Path:
    """Download one file, such as weights, unless `cache` holds its current version.

    Raises:
        DatasetError: The URI holds nothing or can't be used.
        StorageError: The URI can't be reached or read.
    """
    return _Mirror(uri, cache, progress, ATTEMPTS).fetch_itself()


class _Mirror:
    """A URI, the remote filesystem that its files are downloaded from, and their local mirror below `cache`."""

    def __init__(self, uri: str, cache: Path, progress: TrainingProgress, attempts: int) -> None:
        if uri.partition("://")[0].lower() not in SCHEMES or "::" in uri:
            raise DatasetError(
                f"data can't be read from {redact_uri(uri)}: the scheme is not supported",
                hint=f"use a path, or a URI with one of the schemes {', '.join(SCHEMES)}",
            )
        self._files, self.root = open_filesystem(uri)
        self._progress = progress
        self.name = unquote(PurePosixPath(urlsplit(uri).path if uri.lower().startswith("http") else self.root).name)
        home = cache / hashlib.sha256(uri.encode()).hexdigest()[:32]
        self.folder = home / "files"
        self._backoff = Backoff(retry=attempts - 1, first_s=1.0, cap_s=30.0)
        self._log, self._lock = home / "index.jsonl", threading.Lock()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index = dict(_read_index(self._log))

    def fetch_itself(self) -> Path:
        """Download the file at the URI."""
        self.fetch([(self.name, self.root)])
        return self.folder / self.name

    def fetch_folder(self, uri: str) -> tuple[DataFault, ...]:
        """Download the images of the folder at the URI; return the faults of files that are left out."""
        root = self.root.rstrip("/")
        with _translated(uri):
            found: Mapping[str, Mapping[str, Any]] = self._files.find(root, detail=True)
        wanted: list[Remote] = []
        faults: list[DataFault] = []
        for path in sorted(found):
            name = path.removeprefix(root).removeprefix("/")
            if name.endswith("/") or any(part.startswith(".") and part != ".." for part in name.split("/")):
                continue
            if leaves_root(name) or "//" in name:
                faults.append(DataFault(file=name, reason="the name leads to a file outside the folder"))
            elif name != LABELS and (fault := suffix_fault(name)):
                faults.append(fault)
            else:
                wanted.append((name, path))
        if not wanted:
            hint = "check the URI; it must name a folder that holds one folder of images per class"
            raise DatasetError(f"no images under {uri}", hint=hint)
        names = {name for name, _ in wanted}
        for file in self.folder.rglob("*"):  # what no longer exists there
            if file.is_file() and file.relative_to(self.folder).as_posix() not in names:
                file.unlink()
        self.fetch(wanted, known=found)
        return tuple(faults)

    def fetch(
        self,
        wanted: list[Remote],
        *,
        known: Mapping[str, Mapping[str, Any]] | None = None,
        missing_ok: bool = False,
    ) -> None:
        """Download the files that are new or have changed.

        `known` holds the properties (size, ETag, time) of each path if a listing of the folder has reported them
        already.
        """

        def one(item: Remote) -> None:
            name, path = item
            try:
                info = known[path] if known else self._retried(path, lambda: self._files.info(path))
                self._fetch_one(name, path, info)
            except DatasetError:
                if not missing_ok:
                    raise
                if is_file(self.folder / name):
                    (self.folder / name).unlink()

        with self._progress.phase("Downloading", len(wanted)) as step, ThreadPoolExecutor(MAX_DOWNLOADS) as pool:
            try:
                for _ in pool.map(one, wanted):
                    step()
            except EavesError:
                pool.shutdown(cancel_futures=True)
                raise

    def _fetch_one(self, name: str, path: str, info: Mapping[str, Any]) -> None:
        target, version = self.folder / name, {key: str(info[key]) for key in _VERSION if info.get(key) is not None}
        if self._index.get(name) == version and target.is_file():
            return
        part = self.folder.parent / "parts" / hashlib.sha256(name.encode()).hexdigest()
        for folder in (part.parent, target.parent):
            folder.mkdir(parents=True, exist_ok=True)

        def download() -> None:
            self._files.get_file(path, str(part))
            got, size = part.stat().st_size, info.get("size")
            if size is not None and got != size:
                message = f"{redact_uri(path)}: the download ended after {got} of {size} bytes"
                raise StorageError(message, hint="try again")

        self._retried(path, download)
        part.replace(target)
        with self._lock, self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"file": name, "version": version}) + "\n")

    def _retried(self, path: str, action: Callable[[], Any]) -> Any:
        failures = 0
        while True:
            try:
                with _translated(path):
                    return action()
            except StorageError:
                failures += 1
                if self._backoff.exhausted(failures):
                    raise
                time.sleep(self._backoff.pause_s(failures))


@contextmanager
def _translated(path: str) -> Iterator[None]:
    with translated("read", redact_uri(path), ""):
        try:
            yield
        except FileNotFoundError as error:
            if not _is_missing(error):
                raise (error.__cause__ or error) from None
            raise DatasetError(
                f"{redact_uri(path)} does not exist", hint="check the URI, and that the bucket exists"
            ) from error


def _is_missing(error: FileNotFoundError) -> bool:
    """Return whether the server answered that the file doesn't exist, and not that it could not be reached.

    Source: fsspec 2026.1, `HTTPFileSystem._info`: every failure, a refused connection too, is a FileNotFoundError.
    """
    cause = error.__cause__
    return not type(cause).__module__.startswith("aiohttp") or getattr(cause, "status", None) in (404, 410)


def _read_index(log: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and version of each file; later lines win, and an incomplete line is ignored."""
    if not log.is_file():
        return
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            yield entry["file"], entry["version"]
        except (ValueError, KeyError, TypeError):
            continue


ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
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
