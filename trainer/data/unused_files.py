"""Groups the faults of a dataset's files by cause, for people."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trainer.data.listing import DataFault

SHOWN = 3
"""Number of file names that a log line shows; the report lists all of them."""
_GENERAL = (
    (r"it has the same bytes as .*", "it has the same bytes as another file"),
    (
        r"line \d+ of (.*) names the file, but it does not exist",
        r"a line of \1 names the file, but it does not exist",
    ),
    (r"(the data is not an image in a supported format) .*", r"\1"),
    (r"the image is \d+x\d+; (at most .*) are allowed", r"the image is too large: \1 are allowed"),
)
"""Patterns of reasons that name another file, a line or a size, each with the general reason that replaces it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A fault that several files have.

    Attributes:
        reason: What is wrong with all the files.
        files: Paths of the files relative to the dataset's root.
    """

    reason: str
    files: tuple[str, ...]


def group_by_cause(faults: Iterable[DataFault]) -> list[Cause]:
    """Group faults by cause, the most frequent cause first."""
    groups: dict[str, list[str]] = {}
    for fault in faults:
        groups.setdefault(_cause(fault.reason), []).append(fault.file)
    causes = [Cause(reason=reason, files=tuple(files)) for reason, files in groups.items()]
    return sorted(causes, key=lambda cause: -len(cause.files))


def log_not_used(faults: Iterable[DataFault]) -> None:
    """Log one line for each reason why files are not used, with the number of files and the first names."""
    for line in render_not_used(faults):
        _log.warning("%s", line)


def render_not_used(faults: Iterable[DataFault]) -> Iterator[str]:
    """Yield one line for each reason why files are not used, with the number of files and the first names."""
    for cause in group_by_cause(faults):
        many, shown = len(cause.files), ", ".join(cause.files[:SHOWN])
        more = f" and {many - SHOWN} more" if many > SHOWN else ""
        yield f"{many} {'file is' if many == 1 else 'files are'} not used: {cause.reason}: {shown}{more}"


def _cause(reason: str) -> str:
    """Return the reason of a fault without file names, line numbers and sizes, so that equal causes are equal."""
    for pattern, general in _GENERAL:
        if found := re.fullmatch(pattern, reason):
            return found.expand(general)
    return reason.partition(": ")[0]
