"""Instruction sets that a model file can be made for, and detection of those that this CPU has.

This is the only table of targets: conversion makes a variant for each requested target, and the session picks a variant
with it. The module uses only the standard library and is cheap, because a function detects its CPU at each start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CPUINFO = Path("/proc/cpuinfo")
_MAX_BYTES = 16 * 1024  # a machine with many CPUs repeats the entry; the first one is enough

Layout = Literal["avx512", "avx2", "arm64", ""]
"""The block layout that a fully optimised graph is made for. Source: onnxruntime, core/mlas: NchwcBlockSize is 16
floats with AVX512F and 8 with AVX2, so a file made for one doesn't fit the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionSet:
    """A CPU instruction set that a model file can be optimised for.

    Attributes:
        flags: CPU flags that /proc/cpuinfo must list.
        layout: The block layout of optimised graphs.
        vnni: Whether int8 dot products accumulate in 32 bits, so that 8-bit weights never saturate.
    """

    flags: frozenset[str]
    layout: Layout
    vnni: bool = False


_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = frozenset({"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"})

TARGETS: Mapping[str, InstructionSet] = {
    "x86_64_avx2": InstructionSet(flags=_AVX2, layout="avx2"),
    "x86_64_avx_vnni": InstructionSet(flags=_AVX2 | {"avx_vnni"}, layout="avx2", vnni=True),
    "x86_64_avx512": InstructionSet(flags=_AVX512, layout="avx512"),
    "x86_64_avx512_vnni": InstructionSet(flags=_AVX512 | {"avx512_vnni"}, layout="avx512", vnni=True),
    "arm64": InstructionSet(flags=frozenset({"asimddp"}), layout="arm64", vnni=True),
}
"""Every known target by name. Source: flag names of the Linux kernel, arch/x86/include/asm/cpufeatures.h and
Documentation/arch/arm64/elf_hwcaps.rst (asimddp: the dot product instructions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """Capabilities of this machine's CPU.

    Attributes:
        flags: CPU flags as /proc/cpuinfo names them; empty when that file doesn't exist.
    """

    flags: frozenset[str] = frozenset()

    def runs(self, target: str) -> bool:
        """Return whether the CPU has every instruction that a target may use."""
        return target in TARGETS and TARGETS[target].flags <= self.flags

    @property
    def layout(self) -> Layout:
        """The block layout that onnxruntime uses on this CPU; empty when unknown."""
        if "avx512f" in self.flags:
            return "avx512"
        if "avx2" in self.flags:
            return "avx2"
        return "arm64" if "asimd" in self.flags else ""

    @property
    def vnni(self) -> bool:
        """Whether int8 dot products don't saturate on this CPU."""
        return any(target.vnni and self.runs(name) for name, target in TARGETS.items())

    @property
    def overflows(self) -> bool:
        """Whether int8 dot products may overflow: x86 with AVX2 and without VNNI adds products up in 16 bits.

        Tests on emulated CPUs showed correct results for older x86 and for ARM without dot product instructions.
        """
        return "avx2" in self.flags and not self.vnni


def detect_cpu(path: Path = CPUINFO) -> Cpu:
    """Return the first CPU's flags; none when the file can't be read, so that the portable graph is used."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("ascii", "replace")
    except OSError:
        return Cpu()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return Cpu(flags=frozenset(value.split()))
    return Cpu()
