"""Which process listens on a TCP port of this machine, for the error of a second `eaves up`.

Source: proc(5), /proc/net/tcp and /proc/PID/fd: a socket's inode is in both. Processes of other users can't be read.
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
        """Folder of the project that the platform runs for; its state directory where that has a name of its own."""
        return self.state.parent if self.state is not None and self.state.name == ".eaves" else self.state

    def __str__(self) -> str:
        if self.state is None:
            return f"{self.program} (process {self.pid})"
        return f"the local platform of {self.project} (`eaves up`, process {self.pid})"


def find_port_holder(port: int) -> PortHolder | None:
    """The process that listens on a port; None when it can't be found, as that of another user can't.

    Args:
        port: Number of the TCP port, at any address of this machine.
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
    """Inodes of the sockets that listen on a port."""
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
    """What the open files of a process are; none of one that has ended or is another user's."""
    found: list[str] = []
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return found
    for link in links:
        with contextlib.suppress(OSError):  # the file was closed meanwhile
            found.append(str(link.readlink()))
    return found
