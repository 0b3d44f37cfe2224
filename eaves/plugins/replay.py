"""The replay source, which plays the images of a folder or an archive in order, for demonstrations and load tests.

It plays the images that exist when a round begins, one in memory at a time, and never writes to the folder or to disk:
files of a folder are sorted by modification time, members of an archive keep its order. To watch a folder, use the kind
`folder`.

When the recording is played once, an image is identified by path, modification time and size, like a folder's. After a
restart, images that were captured before, or left out by an option, are skipped and the rest follows. In a loop, each
round has a number that no other round has, even in other processes, derived from the time at which it began; a restart
begins a new round. Nothing else is remembered across restarts.
"""

from __future__ import annotations

import errno
import lzma
import stat
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eaves.config import setting
from eaves.errors import ImageTooLargeError, SpoolError, StorageError
from eaves.events import event_id
from eaves.media_type import is_image_path
from eaves.sources.context import Frame, SourceContext
from eaves.sources.files import build_subject, position
from eaves.sources.folder.reader import FileVersion, read_file, scan
from eaves.sources.kind import SourceKind, explain_empty
from eaves.sources.retry import repeat
from eaves.sources.sent_images import SentImages

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_IMAGES = 100_000
"""Maximum number of images in a recording that is played once, because their ids are remembered so that a restart
doesn't play them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySourceSettings:
    """Settings of a recording that is played."""

    path: Path = setting(
        Path("/images"),
        "Folder, including all its subfolders, or archive with the images: .zip, .tar, "
        ".tar.gz, .tgz, .tar.bz2 or .tar.xz.",
    )
    every_s: float = setting(
        1.0,
        "Seconds between two images; 0 captures as fast as the queue accepts them, for load "
        "tests. The default is slow enough to watch.",
        minimum=0,
        maximum=86_400,
    )
    loop: bool = setting(False, "Start again after the last image. The images of each round have ids of their own.")
    times: str = setting(
        "original",
        "Capture time of the events: `original` is the time when the file was last modified, "
        "`now` is the time when it is played.",
        choices=("original", "now"),
    )


DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(
        OSError,
        ValueError,
        ArithmeticError,
        RuntimeError,
        NotImplementedError,
    ),  # encrypted, or packed in a way that Python can't undo
)
"""Exceptions that the standard library raises for archives that are damaged or in an unknown format."""


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


def open_recording(path: Path, unsupported: Callable[[str], None], limit: int | None) -> Iterator[Recorded]:
    """Yield the images at a path, in order. Each image must be read before the next one is requested.

    Args:
        path: Path of a folder or an archive.
        unsupported: Called with the path of each image in a format that no function reads.
        limit: Maximum number of images; None for no limit.

    Raises:
        StorageError: When the path is neither a folder nor an archive, can't be read to its end, or holds more images
            than the maximum. For a tar, this error comes only after the maximum number of images was read.
    """
    if path.is_dir():
        yield from _iter_folder(path, unsupported, limit)
        return
    if not path.is_file():
        raise StorageError(f"{path} is neither a folder nor an archive", hint=f"ls -l {path}")
    try:
        if zipfile.is_zipfile(path):
            yield from _iter_zip(path, limit)
        else:
            yield from _iter_tar(path, limit)
    except DAMAGED as error:
        raise StorageError(f"{path} can't be read as an archive: {str(error)[:160]}", hint=f"ls -l {path}") from error


def _iter_folder(root: Path, unsupported: Callable[[str], None], limit: int | None) -> Iterator[Recorded]:
    found: list[tuple[FileVersion, str]] = []
    for path, version in scan(root, lambda *_: None, unsupported):
        if len(found) == limit:
            raise _too_many(root, len(found))
        found.append((version, path))
    for version, path in sorted(found):
        yield Recorded(
            path=path,
            mtime_ns=version.mtime_ns,
            size_bytes=version.size_bytes,
            read=lambda path=path, version=version: read_file(root, path, version),  # type: ignore[misc]
        )


def _too_many(path: Path, limit: int) -> StorageError:
    message = (
        f"{path} contains more than {limit} images; split it, or set loop: true, with which ids are not remembered"
    )
    return StorageError(message, hint=f"ls -l {path}")


def _iter_zip(file: Path, limit: int | None) -> Iterator[Recorded]:
    with zipfile.ZipFile(file) as archive:
        images = [member for member in archive.infolist() if _is_zipped_image(member)]
        if limit is not None and len(images) > limit:
            raise _too_many(file, limit)
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
                raise _too_many(file, count)
            count += 1
            yield Recorded(
                path=member.name,
                mtime_ns=int(member.mtime * 1e9),
                size_bytes=member.size,
                read=lambda member=member: _read_tar(archive, member),  # type: ignore[misc]
            )


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


IDLE_S = 60.0
"""Interval at which the source calls its context after the last image was played, seconds, so that it doesn't count as
hung."""
EMPTY_S = 1.0
"""Minimum time between two rounds when no image of a round could be played, seconds."""


class ReplaySource:
    """Plays one folder or archive.

    Args:
        settings: Recording to play, and how.
        context: Interface to the agent.
        max_images: Maximum number of images of one recording whose ids are remembered.
    """

    def __init__(self, settings: ReplaySourceSettings, context: SourceContext, *, max_images: int = MAX_IMAGES) -> None:
        self._settings = settings
        self._context = context
        self._max_images = max_images
        # The ids of a loop's images never come again.
        self._sent = SentImages(context, max_present=sys.maxsize, limit=0 if settings.loop else max_images)
        self._due = context.clock.monotonic()
        self._played = 0
        self._finished = False

    def run(self) -> None:
        """Play until the agent stops."""
        repeat(self._context, self._step, (StorageError,))

    def _step(self) -> float:
        """Play one round; return the seconds until the next one."""
        if not self._finished:
            before = self._played
            self._play_round(f"{int(self._context.clock.now() * 1e9)}" if self._settings.loop else "")
            if self._settings.loop:
                return EMPTY_S if self._played == before else 0.0
            self._finished = True
            if not self._context.stopping:
                self._context.report("finished", f"all images of {self._settings.path} were played")
        return IDLE_S

    def _play_round(self, number: str) -> None:
        images = open_recording(
            self._settings.path,
            lambda _: self._context.drop("unsupported"),
            None if self._settings.loop else self._max_images,
        )
        for image in images:
            if self._context.stopping:
                return
            self._play(image, number)

    def _play(self, image: Recorded, number: str) -> None:
        place = position(image.path, mtime_ns=image.mtime_ns, size_bytes=image.size_bytes)
        place = f"{place}\0{number}" if number else place
        identity, subject = event_id(self._context.source, place), build_subject(Path(image.path))
        with suppress(SpoolError):  # `capture` raises the error again, and what isn't remembered is played again
            if not number and identity in self._sent:
                return
        if image.size_bytes > self._context.max_bytes or self._wait_for_turn():
            self._sent.capture(identity, subject[:256], lambda: self._build_frame(image, place, subject))
            if not number:
                with suppress(SpoolError):
                    self._sent.save()

    def _build_frame(self, image: Recorded, place: str, subject: str) -> Frame:
        context = self._context
        if image.size_bytes > context.max_bytes:
            raise ImageTooLargeError(f"it has {image.size_bytes} bytes, more than {context.max_bytes}")
        try:
            data = image.read()
        except DAMAGED as error:
            raise OSError(errno.EIO, str(error)[:160]) from error
        if data is None or len(data) != image.size_bytes:
            raise OSError(errno.EIO, "it is gone, or has changed")
        self._played += 1
        context.report("watching")
        moment_ns = int(context.clock.now() * 1e9) if self._settings.times == "now" else image.mtime_ns
        camera = subject.partition("/")[0] if "/" in subject else ""
        return Frame(data=data, position=place, subject=subject, captured_at_ns=moment_ns, camera=camera)

    def _wait_for_turn(self) -> bool:
        """Wait until the next image is due; return False when the source must stop."""
        now = self._context.clock.monotonic()
        self._due = max(self._due, now)
        if self._due > now and not self._context.wait(self._due - now):
            return False
        self._due += self._settings.every_s
        return True


def is_archive(path: str) -> bool:
    """Return whether a path is that of an archive, by its suffix."""
    return path.lower().endswith(ARCHIVES)


def parse_place(text: str) -> dict[str, str] | None:
    """Return the settings for the path of an archive; None for any other text."""
    return {"path": str(Path(text).absolute())} if is_archive(text) and Path(text).exists() else None


KIND = SourceKind(
    settings=ReplaySourceSettings,
    run=lambda settings, context: ReplaySource(settings, context).run(),
    runs_as=("claim",),
    remembers=lambda _: MAX_IMAGES,
    is_file=is_archive,
    parse_place=parse_place,
    idle_s=lambda _: 1.0,
    explain=lambda settings, failed: explain_empty(failed, f"recording {settings.path}"),
)
