"""Which instruction sets a CPU has, read from the kernel's own words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from eaves.artifact.targets import TARGETS, Cpu, detect_cpu

AVX2 = "fpu sse4_2 avx avx2 fma"
AVX512 = f"{AVX2} avx512f avx512bw avx512dq avx512vl"
CPUS = {
    "an AVX2 desktop": (f"model name\t: x\nflags\t\t: {AVX2}\n", ["x86_64_avx2"], "avx2", False),
    "a laptop with AVX-VNNI": (f"flags\t\t: {AVX2} avx_vnni\n", ["x86_64_avx2", "x86_64_avx_vnni"], "avx2", True),
    "Skylake-X": (f"flags: {AVX512}\n", ["x86_64_avx2", "x86_64_avx512"], "avx512", False),
    "Cascade Lake": (
        f"flags: {AVX512} avx512_vnni\n",
        ["x86_64_avx2", "x86_64_avx512", "x86_64_avx512_vnni"],
        "avx512",
        True,
    ),
    "an ARM server": ("processor: 0\nFeatures\t: fp asimd asimdhp asimddp\n", ["arm64"], "arm64", True),
    "an old ARM board": ("Features\t: fp asimd evtstrm crc32\n", [], "arm64", False),
    "an old x86": ("flags: sse4_2 avx\n", [], "", False),
    "another first line": (f"power management: avx2\nflags: {AVX2}\nflags: avx_vnni\n", ["x86_64_avx2"], "avx2", False),
    "nothing": ("", [], "", False),
    "no text": ("\0\xff" * 10, [], "", False),
}


@pytest.mark.parametrize("case", CPUS)
def test_the_targets_of_a_cpu_follow_from_its_flags(tmp_path: Path, case: str) -> None:
    text, runs, layout, vnni = CPUS[case]
    (tmp_path / "cpuinfo").write_text(text)
    cpu = detect_cpu(tmp_path / "cpuinfo")
    assert [name for name in TARGETS if cpu.runs(name)] == runs
    assert (cpu.layout, cpu.vnni) == (layout, vnni)


def test_a_machine_without_the_file_has_no_target(tmp_path: Path) -> None:
    assert detect_cpu(tmp_path / "cpuinfo") == Cpu()
    assert not Cpu().runs("x86_64_avx2")


def test_no_cpu_runs_an_unknown_target() -> None:
    assert not Cpu(flags=frozenset(AVX512.split())).runs("sparc")


def test_looking_costs_a_cold_start_nothing() -> None:
    def measure() -> float:
        start = time.perf_counter()
        detect_cpu()
        return time.perf_counter() - start

    assert min(measure() for _ in range(20)) < 0.005
