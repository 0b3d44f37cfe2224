"""Reads files below a directory that may come from another person: of limited size, and never from outside."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.errors import ArtifactError, EavesError

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Maximum size of a text file that is read, bytes; a manifest with 100,000 labels fits."""
MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""Maximum size of an image that is read, bytes; a function accepts as many by default."""
_UNEXPECTED = (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that code raises which reads a value of another type or size than Eaves writes."""


@contextmanager
def foreign_content(origin: str) -> Iterator[None]:
    """Turn the exceptions that unexpected content causes into an error for people.

    Args:
        origin: What is read, such as `the run "flowers"`.

    Raises:
        ArtifactError: The block met content that Eaves doesn't write.
    """
    try:
        yield
    except EavesError:
        raise
    except _UNEXPECTED as error:
        detail = f"{type(error).__name__}: {str(error)[:120]}"
        raise ArtifactError(
            f"{origin} can't be shown: it holds something that Eaves does not write ({detail})",
            hint="copy it again, or make it again",
        ) from error


def read_below(root: Path, relative: str, *, max_bytes: int = MAX_TEXT_BYTES) -> bytes | None:
    """Read a file of limited size below a directory.

    Args:
        root: The directory.
        relative: Path of the file relative to the directory.
        max_bytes: Maximum size of the file, bytes.

    Returns:
        The content; None when there is no such file, when it isn't a regular file or is larger, or when its path leads
        outside the directory, also by a symbolic link.
    """
    path = find_below(root, relative)
    if path is None:
        return None
    try:
        # NONBLOCK: a pipe that replaced the file since it was found must not stop the page.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
                return None
            content = stream.read(max_bytes + 1)
    except OSError:
        return None
    return content if len(content) <= max_bytes else None


def find_below(root: Path, relative: str) -> Path | None:
    """Return the resolved path of a regular file below a directory; None when there is none or it leads outside."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\0" in relative:
        return None
    try:
        base = root.resolve(strict=True)
        path = (base / relative).resolve(strict=True)
        return path if path.is_relative_to(base) and stat.S_ISREG(path.lstat().st_mode) else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of symbolic links
        return None


def read_json(root: Path, relative: str) -> Any:
    """Read a JSON file below a directory.

    Raises:
        ArtifactError: The file is missing, too large or no JSON.
    """
    content = read_below(root, relative)
    if content is None:
        raise ArtifactError(f"{relative} is missing in {root}, or can't be read", hint="copy the whole directory again")
    try:
        return parse_json(content)
    except ValueError as error:
        raise ArtifactError(f"{relative} in {root} is not JSON: {error}", hint="copy it again") from error
