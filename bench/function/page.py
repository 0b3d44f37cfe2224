"""Writes docs/function-benchmark.md with all measurements of a function: `make bench-function`.

The models are named by the environment variables that bench/function/start.py describes. EAVES_BENCH_IMAGES is a
directory of photos (default: the artifact's golden images).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from bench.function.process import ROOT
from bench.function.start import Material, open_material

PAGE = ROOT / "docs/function-benchmark.md"
SECTIONS = {
    "function_start": "Cold start and memory",
    "function_warm": "Warm speed",
    "function_frames": "Large frames",
    "function_peers": "Other servers",
}
"""Name of the benchmark that prints each section's table, and the title of the section."""
HEAD = """\
# The function, measured

This page has the start time, speed and memory of a function beside other servers, for readers who choose hardware.
`make bench-function` measured it on {date}, on {cpus} CPUs ({cpu}), Python {python}, onnxruntime {onnxruntime},
Pillow {pillow}. The model is {name}, {side}x{side}; the bars are those of Inception V3. Other programs ran on the
machine: ratios are within one run, between processes that took turns.
"""


def main() -> None:
    """Run the benchmark of each section, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        material = open_material(Path(folder))
        if material is None:
            sys.exit("error: no model to measure\ntry: set EAVES_BENCH_RUN to a run of Inception V3")
        parts = [_head(material)]
        for name, title in SECTIONS.items():
            parts.append(f"\n## {title}\n\n```text\n{_measure(name, _environ(name, material)).strip()}\n```\n")
    PAGE.write_text("".join(parts), encoding="utf-8")
    print(f"\nwritten: {PAGE.relative_to(ROOT)}")


def _measure(name: str, environ: Mapping[str, str]) -> str:
    """Run the benchmark `name` and return what it prints.

    The benchmark runs in a process of its own, so that memory and modules of another benchmark don't affect it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench", name],
        cwd=ROOT,
        env=dict(environ),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(done.stdout, end="", flush=True)
    return done.stdout + ("" if done.returncode == 0 else f"\n(ended with {done.returncode})")


def _environ(name: str, material: Material) -> dict[str, str]:
    """Return the environment of the benchmark `name`, with the variables that name the models and the image."""
    fp32 = str(material.fp32)
    named = {
        "EAVES_BENCH_EXPORTED": str(material.exported),
        "EAVES_BENCH_ARTIFACT": f"{fp32}:{material.int8}" if name == "function_warm" else fp32,
        "EAVES_BENCH_INT8": str(material.int8),
        "EAVES_BENCH_IMAGE": str(material.image),
    }
    return {"EAVES_BENCH_IMAGES": str(material.fp32 / "golden"), **os.environ, **named}


def _head(material: Material) -> str:
    from eaves.artifact import open_artifact

    manifest = open_artifact(material.fp32).manifest
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return HEAD.format(
        date=time.strftime("%Y-%m-%d"),
        cpus=len(os.sched_getaffinity(0)),
        cpu=cpu,
        python=platform.python_version(),
        onnxruntime=version("onnxruntime"),
        pillow=version("pillow"),
        name=manifest.name,
        side=manifest.recipe.width,
    )


if __name__ == "__main__":
    main()
