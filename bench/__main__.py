"""Runs benchmarks: `python -m bench [--quick] [--no-peers] [SECTION,SECTION ...]`.

Each section is measured in a process of its own and replaces its part of docs/benchmarks.md; without a name all are
measured. `--quick` makes short runs and only prints their rough figures, and `--no-peers` leaves other servers out.
`python -m bench prepare` only makes the models and installs the other servers, and `python -m bench compare BASE`
compares this checkout with another one.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.material import Setup, prepare
from bench.processes import ROOT
from bench.report import UnavailableError, describe_run, write_section
from bench.servers.catalogue import install_peers

SECTIONS = {
    "one_at_a_time": "bench.function.one_at_a_time:measure",
    "many_connections": "bench.function.many_connections:measure",
    "process_start": "bench.function.start:measure",
    "container_start": "bench.function.container:measure",
    "knative": "bench.knative:measure",
    "servers": "bench.servers.comparison:measure",
    "local_platform": "bench.local_platform:measure",
    "camera": "bench.camera.section:measure",
    "package": "bench.package:measure",
    "anomaly": "bench.anomaly:measure",
    "loop": "bench.loop:measure",
    "drift": "bench.drift:measure",
    "federation": "bench.federation:measure",
}
"""Module and function of each section, in the order of the page; the function takes a `Setup`."""
WITHOUT_MODELS = ("local_platform", "camera", "anomaly", "loop", "drift", "federation")


def measure_section(name: str, setup: Setup) -> None:
    """Measure a section in this process, and print it or write it to the page."""
    module, _, function = SECTIONS[name].partition(":")
    load, start = os.getloadavg()[0], time.perf_counter()
    section = getattr(importlib.import_module(module), function)(setup)
    stamp = describe_run(time.perf_counter() - start, load)
    print(section.render(), stamp, sep="\n", flush=True)
    if not setup.is_quick:
        write_section(name, section, stamp)


def main(words: Sequence[str]) -> int:
    """Run what the words of the command line name, and return the exit code."""
    names = [name for word in words if not word.startswith("-") for name in word.split(",") if name]
    options = [word for word in words if word.startswith("-")]
    if unknown := {*names} - {*SECTIONS, "prepare"} | {*options} - {"--quick", "--no-peers"}:
        print(f"error: unknown: {', '.join(sorted(unknown))}", file=sys.stderr)
        print(f"try: --quick, --no-peers, compare, prepare, or some of {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    if len(names) != 1:
        command = [sys.executable, "-P", "-m", "bench", *options]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        codes = [subprocess.run([*command, name], check=False, env=environ).returncode for name in names or SECTIONS]
        return max(codes)
    try:
        models = [] if names[0] in WITHOUT_MODELS else prepare()
        setup = Setup(
            models=models, is_quick="--quick" in options, has_peers="--no-peers" not in options, environ=os.environ
        )
        if names == ["prepare"]:
            install_peers(setup, models[0])
        else:
            measure_section(names[0], setup)
    except UnavailableError as error:
        print(f"{names[0]} was not measured: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        from bench import compare

        sys.exit(compare.main(sys.argv[2:]))
    sys.exit(main(sys.argv[1:]))
