"""The account that a system service runs as: it owns the files of the service."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT_UID = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine.

    Attributes:
        name: User name; the user id as text when the user has no name.
        uid: User id.
        gid: Id of the user's group.
    """

    name: str
    uid: int
    gid: int


def owner_of(path: Path) -> Account:
    """Return the owner of a path, or of its nearest parent that exists.

    When a symbolic link in the path belongs to another user than root, the owner of the link is returned instead: the
    link may lead to a folder in which its owner has no rights.

    Raises:
        OSError: When the path can't be read.
    """
    parts = (path, *path.parents)
    links = (one.lstat() for one in reversed(parts) if one.is_symlink())
    placed = next((link for link in links if link.st_uid != ROOT_UID), None)
    status = placed or next(one for one in parts if one.exists()).stat()
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account(name=str(status.st_uid), uid=status.st_uid, gid=status.st_gid)
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def can_run(account: Account, program: Sequence[str]) -> bool:
    """Return whether an account has the rights to run a program, which may lie in another user's home."""
    rights: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": [account.gid]}
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    try:
        return subprocess.run(list(program), cwd="/", check=False, **rights, **quiet).returncode == 0
    except OSError:
        return False


@contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Access files with the rights of an account within the block, when this process runs as root.

    New files then belong to the account, and a symbolic link of that user can't lead to files that the user may not
    access. The rights apply to the whole process, so no other thread may access files meanwhile.
    """
    if os.geteuid() != ROOT_UID or account.uid == ROOT_UID:
        yield
        return
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups(os.getgrouplist(account.name, account.gid) if not account.name.isdecimal() else [account.gid])
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)
