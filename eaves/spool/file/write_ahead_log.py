"""Repair of SQLite's write-ahead log after a crash, so that one damaged place doesn't lose all later commits.

SQLite reads the log up to the first frame whose checksum is wrong and drops the rest without an error. That is right
for the last transaction, which a power cut may have left incomplete and which was not acknowledged. A transaction that
another one follows was synced before the other began, so a wrong checksum there means damage. The checksum allows
correcting a single changed byte. Frames that can't be corrected stay as they are, the frames after them get new
checksums, and the file is then salvaged, which checks each entry.

Source: sqlite.org/fileformat.html, section 4, the write-ahead log.
"""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from eaves.base.files import replacing
from eaves.spool.file.frame_checksum import Sum, checksum, correct, join, split

_HEADER, _FRAME_HEADER = 32, 24
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}
"""Byte order of the 4-byte words from which the log's checksum is computed, by the log's magic number."""
_REBUILT = struct.pack(">4I", 0x377F0682, 3_007_000, 4_096, 0)
"""Header of a log whose own header is destroyed: magic number, format, page size of every spool, checkpoint number."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFrame:
    """One frame of the log, which holds one page.

    Attributes:
        head: The page's number, and the database's size in pages if the frame ends a transaction, else 0: 8 bytes.
        salts: Values shared by the frames of one generation of the log: 8 bytes.
        stored: Stored checksum, which continues that of the previous frame.
        page: Content of the page.
    """

    head: bytes
    salts: bytes
    stored: Sum
    page: bytes

    @property
    def number(self) -> int:
        """Page number, from 1; a frame with page number 0 was never written."""
        return int.from_bytes(self.head[:4], "big")

    @property
    def ends(self) -> bool:
        """Whether the frame ends a transaction."""
        return self.head[4:] != bytes(4)


@dataclass(slots=True)
class _Findings:
    """Result of examining a log.

    Attributes:
        repaired: Corrected frames by frame number.
        damaged: Numbers of frames that can't be corrected, each with whether the page number in `LogFrame.head` can be
            trusted.
        ends: Numbers of the frames that end a transaction, ascending.
        last_good: Number of the last frame whose checksum is right or was corrected.
    """

    repaired: dict[int, LogFrame] = field(default_factory=dict)
    damaged: dict[int, bool] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    last_good: int = -1

    def add(self, number: int, frame: LogFrame, known: LogFrame | None, *, salts: bytes) -> Sum:
        """Record a frame as intact, corrected or damaged; return the checksum that the next one continues."""
        is_ours = frame.salts == salts and frame.number > 0
        if known is None:
            self.damaged[number] = is_ours
        else:
            self.last_good = number
            if known is not frame:
                self.repaired[number] = known
        if (known or frame).ends and (is_ours or known):
            self.ends.append(number)
        return (known or frame).stored

    def count_durable(self) -> int:
        """Return the number of frames up to the last transaction that was certainly written completely."""
        if not self.ends:
            return 0
        before = self.ends[-2] if len(self.ends) > 1 else -1
        if self.last_good <= self.ends[-1] and any(before < number <= self.ends[-1] for number in self.damaged):
            return before + 1
        return self.ends[-1] + 1


class _Log:
    """A write-ahead log: reads its frames by number, and examines and rewrites them with correct checksums."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        found, salts = stream.read(_HEADER), stream.read(_FRAME_HEADER)[8:16]
        self.header = _repair_header(found, salts)
        self.is_repaired = self.header != found
        self.order = _ORDERS[int.from_bytes(self.header[:4], "big")]
        self.salts = self.header[16:24]
        self.start = split(self.header[24:32])
        self._page_size = int.from_bytes(self.header[8:12], "big")
        size = os.fstat(stream.fileno()).st_size
        self.count = max(0, size - _HEADER) // (_FRAME_HEADER + self._page_size)

    def read(self, number: int) -> LogFrame:
        """Return the frame with this number, from 0."""
        self._stream.seek(_HEADER + number * (_FRAME_HEADER + self._page_size))
        head = self._stream.read(_FRAME_HEADER)
        page = self._stream.read(self._page_size)
        return LogFrame(head=head[:8], salts=head[8:16], stored=split(head[16:24]), page=page)

    def examine(self) -> _Findings:
        """Examine every frame of the log, and correct those with a wrong checksum where that is possible.

        Such a frame is judged by the checksum that the next frame continues.
        """
        found, before = _Findings(), self.start
        failed: tuple[Sum, LogFrame] | None = None
        for number in range(self.count):
            frame = self.read(number)
            if failed is not None:
                before = found.add(number - 1, failed[1], self._judge(*failed, frame), salts=self.salts)
                failed = None
            if frame.number and frame.salts == self.salts and self._sum(before, frame) == frame.stored:
                before = found.add(number, frame, frame, salts=self.salts)
            else:
                failed = (before, frame)
        if failed is not None:
            found.add(self.count - 1, failed[1], self._judge(*failed, None), salts=self.salts)
        return found

    def write(self, found: _Findings, count: int, new: BinaryIO) -> None:
        """Write the first `count` frames of the log with new checksums."""
        new.write(self.header)
        running, last = self.start, self.read(0)
        for number in range(count):
            frame = found.repaired.get(number) or self.read(number)
            if found.damaged.get(number) is False:  # its page is unknown, so the previous frame is repeated
                frame = replace(last, head=last.head[:4] + bytes(4))
            running = self._sum(running, frame)
            new.write(frame.head + self.salts + join(running) + frame.page)
            last = frame

    def _sum(self, before: Sum, frame: LogFrame) -> Sum:
        return checksum(frame.head + frame.page, self.order, before)

    def _judge(self, before: Sum, frame: LogFrame, after: LogFrame | None) -> LogFrame | None:
        """Return the frame as `_resolve` corrects it; None when it can't be corrected or has no page number."""
        known = self._resolve(before, frame, after)
        return known if known is not None and known.number else None

    def _resolve(self, before: Sum, frame: LogFrame, after: LogFrame | None) -> LogFrame | None:
        """Return a frame with a wrong checksum, corrected when one byte of it changed; None when more changed.

        Args:
            before: Checksum that the frame continues.
            frame: Frame to correct.
            after: Next frame, which continues this frame's true checksum.
        """
        is_ours = frame.salts == self.salts
        follows = after is not None and after.salts == self.salts
        if not is_ours and not follows:
            return None  # the frame is of an earlier generation of the log
        fixed, summed = replace(frame, salts=self.salts), self._sum(before, frame)
        if after is not None and follows:
            if self._sum(frame.stored, after) == after.stored:
                return fixed if summed == frame.stored else self._correct(before, fixed)
            if self._sum(summed, after) == after.stored:
                return replace(fixed, stored=summed)
        if _is_one_byte(summed, frame.stored):
            return replace(fixed, stored=summed)
        return self._correct(before, fixed) if is_ours else None

    def _correct(self, before: Sum, frame: LogFrame) -> LogFrame | None:
        fixed = correct(frame.head + frame.page, self.order, before, frame.stored)
        return None if fixed is None else replace(frame, head=fixed[:8], page=fixed[8:])


def repair(database: Path) -> bool:
    """Repair the log of a database that no process has open, as far as possible.

    Args:
        database: Path of the database; the log's path is the same with `-wal` appended.

    Returns:
        Whether a part of the log could not be repaired, so that the database must be salvaged.

    Raises:
        OSError: When the log can't be read or written; it is left unchanged.
    """
    path = _log_path(database)
    if not path.exists() or path.stat().st_size <= _HEADER + _FRAME_HEADER:
        return False
    with path.open("rb") as stream:
        log = _Log(stream)
        found = log.examine()
        count = found.count_durable()
        repaired = sum(number < count for number in found.repaired) + log.is_repaired
        damaged = sum(number < count for number in found.damaged)
        if not count or not repaired + damaged:
            return False
        _replace(path, log, found, count)
    _log.error("%s was damaged: %d places were repaired, %d pages can't be repaired", path, repaired, damaged)
    return damaged > 0


def apply(database: Path, copy: Path) -> None:
    """Write the pages in a database's log into a copy of the database.

    SQLite can't do this when the schema is destroyed.

    Args:
        database: Path of the database. No process has it open for writing, and its log was repaired.
        copy: Path of a copy of the database file.

    Raises:
        OSError: When a file can't be read or written.
    """
    path = _log_path(database)
    if not path.exists() or path.stat().st_size <= _HEADER + _FRAME_HEADER:
        return
    with path.open("rb") as stream, copy.open("r+b") as target:
        log = _Log(stream)
        found = log.examine()
        for number in range(found.count_durable()):
            frame = found.repaired.get(number) or log.read(number)
            if number not in found.damaged:
                target.seek((frame.number - 1) * len(frame.page))
                target.write(frame.page)


def _log_path(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _replace(path: Path, log: _Log, found: _Findings, count: int) -> None:
    """Replace the log with a repaired one; a process that is killed here leaves either the old or the new log."""
    with replacing(path, sole_writer=True) as new:
        log.write(found, count, new)


def _repair_header(found: bytes, salts: bytes) -> bytes:
    """Return the log's header with a valid checksum.

    Args:
        found: Header that the file has.
        salts: Salts of the first frame.
    """
    head, stored = found[:24], split(found[24:32])
    for number, order in _ORDERS.items():
        summed = checksum(head, order)
        known = head if summed == stored or _is_one_byte(summed, stored) else correct(head, order, (0, 0), stored)
        if known is None or int.from_bytes(known[:4], "big") != number:
            continue
        if known[16:24] == salts:
            return known + join(checksum(known, order))
        if summed == stored:
            return found  # the first frame's salts are damaged, or the log was restarted
    magic = _ORDERS.get(int.from_bytes(head[:4], "big"))
    if magic is None or head[8:12] != _REBUILT[8:12] or head[16:24] != salts:
        head, magic = _REBUILT + salts, "<"
    return head + join(checksum(head, magic))


def _is_one_byte(summed: Sum, stored: Sum) -> bool:
    """Return whether a computed and a stored checksum differ in one byte, so that the stored one is damaged."""
    return sum(one != two for one, two in zip(join(summed), join(stored), strict=True)) == 1
