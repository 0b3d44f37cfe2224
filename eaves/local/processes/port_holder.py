"""Search for the process that listens on a TCP port, for the error of a second `eaves up`.

The file /proc/net/tcp has the inode number of the socket on each port, and the folder /proc/PID/fd has those of a
process's sockets. The folders of other users' processes can't be read. Source: proc(5).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOCK_NAME = "up.lock"
"""Name of the file in a state directory that a running `eaves up` keeps open."""
_PROC = Path("/proc")
_LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp. Source: include/net/tcp_states.h, TCP_LISTEN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortHolder:
    """A process that listens on a port.

    Attributes:
        pid: Process id.
        program: Name of the program.
        state: State directory of the local platform that the process runs; None when it is another program.
    """

    pid: int
    program: str
    state: Path | None

    @property
    def project(self) -> Path | None:
        """Project folder of the platform that the process runs; the state directory, when it isn't named `.eaves`."""
        return self.state.parent if self.state is not None and self.state.name == ".eaves" else self.state

    def __str__(self) -> str:
        if self.state is None:
            return f"{self.program} (process {self.pid})"
        return f"the local platform of {self.project} (`eaves up`, process {self.pid})"


def find_port_holder(port: int) -> PortHolder | None:
    """Return the process that listens on a port; None when none is found, for example when it is another user's.

    Args:
        port: Number of the TCP port; the process may listen on any address of this machine.
    """
    wanted = {f"socket:[{inode}]" for inode in _list_inodes(port)}
    if not wanted:
        return None
    for folder in _PROC.glob("[0-9]*"):
        files = _list_files(folder)
        if wanted.isdisjoint(files):
            continue
        locks = [Path(file) for file in files if file.endswith(f"/{LOCK_NAME}")]
        try:
            program = (folder / "comm").read_text(errors="replace").strip()
        except OSError:
            continue  # it has just ended
        return PortHolder(pid=int(folder.name), program=program, state=locks[0].parent if locks else None)
    return None


def _list_inodes(port: int) -> Iterator[str]:
    """Yield the inode number of each socket that listens on a port."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _list_files(process: Path) -> list[str]:
    """Return the targets of a process's open files, such as `socket:[INODE]`; none when they can't be read."""
    found: list[str] = []
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return found
    for link in links:
        with contextlib.suppress(OSError):  # the file was closed meanwhile
            found.append(str(link.readlink()))
    return found
