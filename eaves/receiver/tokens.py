"""Creation of a site's token in the folder that a receiver reads."""

from __future__ import annotations

import secrets
from pathlib import Path

from eaves.base.files import make_directory, write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.errors import ConfigError, Fault, InputError, StorageError

TOKEN_BYTES = 32
"""Number of random bytes in a token; it has 43 characters."""


def add_token(folder: Path, site: str, *, keep: bool = False, replace: bool = False) -> Path:
    """Append a random token to a site's file, which only its owner can read.

    Args:
        folder: Folder of the sites; created when it is missing.
        site: Name of the site.
        keep: Whether the existing tokens stay valid, so that the site can change to the new one without a gap.
        replace: Whether the existing tokens become invalid.

    Returns:
        Path of the site's file.

    Raises:
        ConfigError: When the name is not valid for a site.
        InputError: When the site already has a token and neither `keep` nor `replace` is set.
        StorageError: When the file can't be written.
    """
    if not NAME_PATTERN.fullmatch(site):
        message = f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {site[:64]!r})"
        raise ConfigError([Fault(origin="site", path="", message=message)], hint="use a name such as mill-2")
    path = folder / site
    try:
        make_directory(folder)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before.strip() and not (keep or replace):
            raise InputError(
                f"{site} already has a token, in {path}",
                hint=("add another token with --keep, or replace it with --replace"),
            )
        lines = [line for line in before.splitlines() if line.strip()] if keep else []
        write_atomically(path, "\n".join([*lines, secrets.token_urlsafe(TOKEN_BYTES)]) + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} can't be written: {error}", hint=f"ls -ld {folder}") from error
    return path
