"""The files that training doesn't use, by cause, for people."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from trainer.data.listing import DataFault

SHOWN = 3
"""Names in a line; the report has the others."""
_ANOTHER = "same bytes as "

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why some files are not used.

    Attributes:
        reason: What is wrong with all of them.
        files: Their paths relative to the dataset's root.
    """

    reason: str
    files: tuple[str, ...]


def group_by_cause(faults: Iterable[DataFault]) -> list[Cause]:
    """The causes of the files that are not used, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for fault in faults:
        if not fault.used:
            groups.setdefault(_cause(fault.reason), []).append(fault.file)
    causes = [Cause(reason=reason, files=tuple(files)) for reason, files in groups.items()]
    return sorted(causes, key=lambda cause: -len(cause.files))


def tell_not_used(faults: Iterable[DataFault]) -> None:
    """Log one line per cause, with the number of files and their first names."""
    for cause in group_by_cause(faults):
        many, shown = len(cause.files), ", ".join(cause.files[:SHOWN])
        more = f" and {many - SHOWN} more" if many > SHOWN else ""
        verb = "file is" if many == 1 else "files are"
        _log.warning("%d %s not used: %s: %s%s", many, verb, cause.reason, shown, more)


def _cause(reason: str) -> str:
    """A reason without what differs from file to file."""
    return f"{_ANOTHER}another file" if reason.startswith(_ANOTHER) else reason.partition(": ")[0]
