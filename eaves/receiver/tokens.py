"""A new token of a site, in the folder that a receiver reads."""

from __future__ import annotations

import secrets
from pathlib import Path

from eaves.base.files import make_directory, write_atomically
from eaves.base.names import NAME_PATTERN
from eaves.errors import ConfigError, Fault, InputError, StorageError

TOKEN_BYTES = 32
"""Random bytes of a token: 43 characters."""


def add_token(folder: Path, site: str, *, keep: bool = False, replace: bool = False) -> Path:
    """Write a random token into a site's file, as its last line; readable for its owner only.

    Args:
        folder: Folder of the sites; made when it isn't there.
        site: The site's name.
        keep: Keep the tokens that are there: both let the site in while it changes from one to the other.
        replace: Forget the tokens that are there: they don't let the site in any more.

    Returns:
        The file.

    Raises:
        ConfigError: When it is no name of a site.
        InputError: When the site has a token already and neither `keep` nor `replace` is set.
        StorageError: When it can't be written.
    """
    if not NAME_PATTERN.fullmatch(site):
        message = f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {site[:64]!r})"
        raise ConfigError([Fault(origin="site", path="", message=message)], hint="a name such as mill-2")
    path = folder / site
    try:
        make_directory(folder)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before.strip() and not (keep or replace):
            raise InputError(
                f"{site} has a token already, in {path}", hint="--keep adds another, --replace replaces it"
            )
        lines = [line for line in before.splitlines() if line.strip()] if keep else []
        write_atomically(path, "\n".join([*lines, secrets.token_urlsafe(TOKEN_BYTES)]) + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} can't be written: {error}", hint=f"ls -ld {folder}") from error
    return path
