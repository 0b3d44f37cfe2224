"""Random id of an agent, which is kept in a file beside the agent's spool."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from eaves.base.files import write_atomically
from eaves.errors import SpoolError

_ID = re.compile(r"[0-9a-f]{8}")


def load_agent_id(spool: Path) -> str:
    """Read the agent's id from the file `SPOOL.id`; replace a missing or damaged id by a new one.

    Sites and sources may have the same names on several machines and in several apps. So names that must differ between
    agents, such as that of an MQTT session, contain this id.

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
