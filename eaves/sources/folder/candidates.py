"""Image files that were noticed and wait until their writers have completed them."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.sources.folder.reader import FileVersion

MAX_CANDIDATES = 10_000
"""Maximum number of files that wait, which take about 4 MB of memory. A later scan of the folder finds files for which
there is no room now."""


@dataclass(frozen=True, slots=True)
class CandidateFile:
    """The version of a file that was noticed, and the time at which the file counts as complete.

    Attributes:
        version: Modification time and size of the file.
        due: Time at which the file counts as complete unless it changes before, monotonic seconds.
        closed: Whether its writer has closed the file or moved it here.
    """

    version: FileVersion
    due: float
    closed: bool


class CandidateFiles:
    """Files that wait until they are complete, by path below the folder. Not thread-safe; the caller holds a lock."""

    def __init__(self, limit: int = MAX_CANDIDATES) -> None:
        self._limit = limit
        self._files: dict[str, CandidateFile] = {}

    @property
    def full(self) -> bool:
        """Whether there is no room for another file."""
        return len(self._files) >= self._limit

    def holds(self, relative: str, version: FileVersion) -> bool:
        """Return whether this version of a file is waiting."""
        candidate = self._files.get(relative)
        return candidate is not None and candidate.version == version

    def add(self, relative: str, candidate: CandidateFile) -> bool:
        """Add a file that waits; return False when there is no room for it.

        When the same version of a file is added several times, the longest wait counts, because the file may still be
        open. Once its writer has closed the file, a longer wait is ignored.
        """
        before = self._files.get(relative)
        if before is None and self.full:
            return False
        same = before is not None and before.version == candidate.version
        if before is None or not same or (not before.closed and (candidate.closed or candidate.due > before.due)):
            self._files[relative] = candidate
        return True

    def remove(self, relative: str, candidate: CandidateFile) -> None:
        """Remove a file, unless it was noticed again meanwhile."""
        if self._files.get(relative) == candidate:
            del self._files[relative]

    def find_due(self, now: float) -> list[tuple[str, CandidateFile]]:
        """Return the files that count as complete, in the order of their modification times."""
        due = [(relative, candidate) for relative, candidate in self._files.items() if candidate.due <= now]
        return sorted(due, key=lambda item: (item[1].version.mtime_ns, item[0]))

    def next_due(self) -> float:
        """Return the time at which the next file counts as complete, monotonic seconds; infinite without a file."""
        return min((candidate.due for candidate in self._files.values()), default=float("inf"))
