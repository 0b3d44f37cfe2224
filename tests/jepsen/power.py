"""Power cuts: what a disk may hold when it stops, from the writes and syncs that a client made.

What was synced is there. Of what was written to a file after its last sync any part may be: each write as a whole, some
sectors of it, or nothing. Names of files are taken as durable in their order, as journaling file systems keep them.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.jepsen.damage import SECTOR

TRACED = "openat,pwrite64,write,ftruncate,fdatasync,fsync,unlink,rename"
_CALL = re.compile(r"^(\w+)\((.*)\) += (\d+)")
_FD = re.compile(r'^\d+<((?:\\x[0-9a-f]{2})*)>(?:, "((?:\\x[0-9a-f]{2})*)")?(?:, (\d+))?(?:, (\d+))?')
_NAME = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A system call that changed a file or synced it.

    Attributes:
        name: Its name.
        path: The file.
        data: What was written.
        at: Offset of a write, or the length that a file was cut to.
    """

    name: str
    path: str
    data: bytes = b""
    at: int = 0


@dataclass(slots=True)
class Disk:
    """Files as a disk holds them.

    Attributes:
        files: What is durable.
        pending: Calls since a file's last sync.
        acknowledged: Lines of the client's journal.
    """

    journal: str
    files: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[Call]] = field(default_factory=dict)
    acknowledged: int = 0

    def apply(self, call: Call) -> None:
        """Make the call."""
        if call.path == self.journal:
            self.acknowledged += call.name == "write"
        elif call.name == "unlink":
            self.files.pop(call.path, None)
            self.pending.pop(call.path, None)
        elif call.name in {"fdatasync", "fsync"}:
            for one in self.pending.pop(call.path, []):
                _write(self.files.setdefault(call.path, bytearray()), one, one.data)
        elif call.name == "openat":
            self.files.setdefault(call.path, bytearray())
        else:
            self.pending.setdefault(call.path, []).append(call)

    def cut(self, chance: random.Random, folder: Path) -> None:
        """Write the files that a power cut at this moment leaves into a folder."""
        for path, durable in self.files.items():
            content = bytearray(durable)
            kept = chance.choice((0.0, 0.5, 0.9, 1.0))
            for call in self.pending.get(path, []):
                if chance.random() < kept:
                    _write(content, call, call.data)
                elif chance.random() < 0.3:
                    first = chance.randrange(max(1, len(call.data) // SECTOR)) * SECTOR
                    part = call.data[first : first + SECTOR * chance.randrange(1, 4)]
                    _write(content, Call(name=call.name, path=path, at=call.at + first), part)
            (folder / Path(path).name).write_bytes(content)


def parse_calls(log: str, folder: Path) -> list[Call]:
    """The calls of a log of strace (-y -xx) that are about files of one folder.

    Raises:
        AssertionError: When a write was not logged as a whole, or no sync was.
    """
    calls: list[Call] = []
    for line in log.splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        name, arguments, result = found.groups()
        if name in {"openat", "unlink", "rename"}:
            names = [_text(text) for text in _NAME.findall(arguments)]
            paths = names if name != "openat" or "O_CREAT" in arguments or "O_RDWR" in arguments else []
            assert name != "rename", "clients that rename are not supported"
            calls += [Call(name=name, path=path) for path in paths if Path(path).parent == folder]
            continue
        about = _FD.match(arguments)
        if about is None or (path := Path(_text(about[1]))).parent != folder:
            continue
        data = bytes.fromhex((about[2] or "").replace("\\x", ""))
        if name in {"pwrite64", "write"}:
            assert len(data) == int(result), f"strace cut a write off: {line[:100]}"
        at = int((about[4] if name == "pwrite64" else about[3]) or 0)
        calls.append(Call(name=name, path=str(path), data=data, at=at))
    assert any(call.name == "fdatasync" for call in calls)
    return [call for call in calls if not call.path.endswith(("-shm", ".lease"))]


def _text(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode()


def _write(content: bytearray, call: Call, data: bytes) -> None:
    if call.name == "ftruncate":
        del content[call.at :]
        content.extend(bytes(call.at - len(content)))
        return
    content.extend(bytes(max(0, call.at - len(content))))
    content[call.at : call.at + len(data)] = data
