"""The CPUs and the memory a process may use, on trees that look like /proc and /sys of machines and containers."""

import os
from pathlib import Path

import pytest

from eaves.resource_limits import count_usable_cpus, read_memory_limit

MANY = 8
MIB = 1 << 20


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MANY)))


def build_tree(root: Path, *, cgroup: str, files: dict[str, str]) -> Path:
    written = {"proc/self/cgroup": cgroup}
    written |= {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("content", "cpus"),
    [
        ("max 100000", MANY),
        ("max", MANY),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("25000 50000", 1),
        ("300000", 3),
        ("9000000 100000", MANY),
        ("", MANY),
        ("0 100000", MANY),
        ("many 100000", MANY),
        ("200000 0", MANY),
        ("200000 -5", MANY),
    ],
)
def test_the_quota_of_the_own_group(tmp_path: Path, content: str, cpus: int):
    """In a container with a cgroup namespace, the process's own group is the root that it sees."""
    files = {"cpu.max": content}
    assert count_usable_cpus(build_tree(tmp_path, cgroup="0::/\n", files=files)) == cpus


@pytest.mark.parametrize(("own", "above", "cpus"), [("max 100000", "200000 100000", 2), ("100000 100000", "max", 1)])
def test_a_quota_of_a_group_above_holds_too(tmp_path: Path, own: str, above: str, cpus: int):
    files = {"kubepods.slice/pod7/abc/cpu.max": own, "kubepods.slice/cpu.max": above}
    cgroup = "0::/kubepods.slice/pod7/abc\n"
    assert count_usable_cpus(build_tree(tmp_path, cgroup=cgroup, files=files)) == cpus


def test_a_mount_that_shows_only_the_containers_part(tmp_path: Path):
    """Without a cgroup namespace, /proc names the host's path, and the mount begins at the container's."""
    tree = build_tree(tmp_path, cgroup="0::/docker/abc/worker\n", files={"cpu.max": "100000 100000"})
    assert count_usable_cpus(tree) == 1


@pytest.mark.parametrize("cgroup", ["", "0::/\n", "nonsense\n0\n0::relative\n", "0::/../../elsewhere\n", "3:cpu:/\n"])
def test_what_says_nothing_sets_no_limit(tmp_path: Path, cgroup: str):
    assert count_usable_cpus(build_tree(tmp_path, cgroup=cgroup, files={})) == MANY


def test_unreadable_files_set_no_limit(tmp_path: Path):
    tree = build_tree(tmp_path, cgroup="0::/\n", files={})
    (tree / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    (tree / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    assert count_usable_cpus(tree) == MANY
    assert count_usable_cpus(tmp_path / "nowhere") == MANY


@pytest.mark.parametrize(
    ("own", "above", "limit"),
    [
        ("max", "max", 512),
        ("268435456", "max", 256),
        ("max", "134217728", 128),
        ("", "x", 512),
        (str(1 << 40), "", 512),
    ],
)
def test_memory_by_the_cgroups_or_the_machines(tmp_path: Path, own: str, above: str, limit: int):
    files = {"pod/abc/memory.max": own, "pod/memory.max": above}
    tree = build_tree(tmp_path, cgroup="0::/pod/abc\n", files=files)
    (tree / "proc/meminfo").write_text("MemTotal:         524288 kB\nMemFree: 1 kB\n")
    assert read_memory_limit(tree) == limit * MIB
