"""Id of the agent: random, kept in a file beside its spool."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from eaves.base.files import write_atomically
from eaves.errors import SpoolError

_ID = re.compile(r"[0-9a-f]{8}")


def load_agent_id(spool: Path) -> str:
    """Read the id from the file `SPOOL.id`; a missing or damaged one is replaced by a new one.

    A site and a source have the same names on many machines and in many apps. Names that must differ between their
    agents, such as the name of a session at a broker, contain this id.

    Args:
        spool: Path of the agent's spool; its folder exists.

    Raises:
        SpoolError: When the file can't be read or written.
    """
    path = spool.with_name(f"{spool.name}.id")
    try:
        known = path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else ""
        if _ID.fullmatch(known):
            return known
        made = secrets.token_hex(4)
        write_atomically(path, f"{made}\n")
    except OSError as error:
        raise SpoolError(f"the agent's id can't be stored in {path}: {error}") from error
    return made
