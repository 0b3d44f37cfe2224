"""The CPUs and the memory a process may use, on trees that look like /proc and /sys of machines and containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eaves.resource_limits import count_usable_cpus, read_memory_limit

MANY = 8
MIB = 1 << 20
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "25 23 0:22 / /proc rw - proc proc rw\n"
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MANY)))


def build_tree(root: Path, *, cgroup: str, mounts: str, files: dict[str, str]) -> Path:
    written = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts}
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
def test_version_2(tmp_path: Path, content: str, cpus: int) -> None:
    """In a container with a cgroup namespace, the process's own group is the root that it sees."""
    files = {"cpu.max": content}
    assert count_usable_cpus(build_tree(tmp_path, cgroup="0::/\n", mounts=V2.format(root="/"), files=files)) == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [("-1\n", "100000\n", MANY), ("250000\n", "100000\n", 3), ("200000\n", "100000\n", 2), ("x", "100000", MANY)],
)
def test_version_1(tmp_path: Path, quota: str, period: str, cpus: int) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": quota, "cpu,cpuacct/cpu.cfs_period_us": period}
    cgroup = "4:cpuset:/\n3:cpu,cpuacct:/\n0::/\n"
    assert count_usable_cpus(build_tree(tmp_path, cgroup=cgroup, mounts=V1.format(root="/"), files=files)) == cpus


@pytest.mark.parametrize(("own", "above", "cpus"), [("max 100000", "200000 100000", 2), ("100000 100000", "max", 1)])
def test_a_quota_of_a_group_above_holds_too(tmp_path: Path, own: str, above: str, cpus: int) -> None:
    files = {"kubepods.slice/pod7/abc/cpu.max": own, "kubepods.slice/cpu.max": above}
    cgroup = "0::/kubepods.slice/pod7/abc\n"
    assert count_usable_cpus(build_tree(tmp_path, cgroup=cgroup, mounts=V2.format(root="/"), files=files)) == cpus


def test_a_mount_that_shows_only_the_containers_part(tmp_path: Path) -> None:
    """Version 1 without a cgroup namespace: /proc names the host's path, the mount begins at the container's."""
    files = {
        "cpu,cpuacct/worker/cpu.cfs_quota_us": "100000",
        "cpu,cpuacct/worker/cpu.cfs_period_us": "100000",
    }
    cgroup, mounts = "3:cpu,cpuacct:/docker/abc/worker\n", V1.format(root="/docker/abc")
    assert count_usable_cpus(build_tree(tmp_path, cgroup=cgroup, mounts=mounts, files=files)) == 1


def test_a_hybrid_machine_limits_by_version_1(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/app/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/app/cpu.cfs_period_us": "100000",
        "unified/app/cgroup.procs": "1",
    }
    tree = build_tree(tmp_path, cgroup="3:cpu,cpuacct:/app\n0::/app\n", mounts=HYBRID.format(root="/"), files=files)
    assert count_usable_cpus(tree) == 2


@pytest.mark.parametrize(
    ("cgroup", "mounts"),
    [
        ("", ""),
        ("0::/\n", ""),
        ("", V2.format(root="/")),
        ("nonsense\n0\n0::relative\n", V2.format(root="/")),
        ("0::/../../elsewhere\n", V2.format(root="/")),
        ("0::/\n", "1 2 3\nx - cgroup2\n - \n"),
    ],
)
def test_what_says_nothing_sets_no_limit(tmp_path: Path, cgroup: str, mounts: str) -> None:
    assert count_usable_cpus(build_tree(tmp_path, cgroup=cgroup, mounts=mounts, files={})) == MANY


def test_unreadable_files_set_no_limit(tmp_path: Path) -> None:
    tree = build_tree(tmp_path, cgroup="0::/\n", mounts=V2.format(root="/"), files={})
    (tree / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    (tree / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    assert count_usable_cpus(tree) == MANY
    assert count_usable_cpus(tmp_path / "nowhere") == MANY


def test_here_it_is_at_least_one() -> None:
    assert 1 <= count_usable_cpus() <= MANY


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
def test_memory_by_version_2_or_the_machines(tmp_path: Path, own: str, above: str, limit: int) -> None:
    files = {"pod/abc/memory.max": own, "pod/memory.max": above}
    tree = build_tree(tmp_path, cgroup="0::/pod/abc\n", mounts=V2.format(root="/"), files=files)
    (tree / "proc/meminfo").write_text("MemTotal:         524288 kB\nMemFree: 1 kB\n")
    assert read_memory_limit(tree) == limit * MIB


def test_memory_by_version_1(tmp_path: Path) -> None:
    mounts = "36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" + V1.format(root="/")
    files = {"memory/app/memory.limit_in_bytes": "104857600\n", "cpu,cpuacct/app/cpu.cfs_quota_us": "-1"}
    tree = build_tree(tmp_path, cgroup="3:cpu,cpuacct:/app\n9:memory:/app\n", mounts=mounts, files=files)
    assert read_memory_limit(tree) == 100 * MIB
    assert count_usable_cpus(tree) == MANY


def test_no_known_memory_is_zero(tmp_path: Path) -> None:
    assert read_memory_limit(tmp_path) == 0
    assert read_memory_limit() > 0
