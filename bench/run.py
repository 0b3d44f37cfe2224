"""Measures parts, each in a process of its own, and stores their results.

`python -m bench.run PART SETUP OUTPUT` is that process: it reads the setup, and writes the section or the reason why
the part can't be measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.material import Setup, parse_setup, prepare, render_setup
from bench.registry import PARTS, Part
from bench.report.machine import ROOT, Machine, detect_machine
from bench.report.page import utc_now
from bench.report.section import UnavailableError, parse_section
from bench.report.store import RESULTS, Result, load_results, save_results


def measure_parts(
    parts: Sequence[Part],
    environ: Mapping[str, str],
    *,
    is_quick: bool,
    has_peers: bool,
    keep: bool,
    path: Path = RESULTS,
) -> None:
    """Measure parts one after the other, and store the result of each as soon as it is there.

    Args:
        parts: Parts to measure.
        environ: Environment variables that name models, see `bench.material.prepare`.
        is_quick: Whether to make short runs.
        has_peers: Whether other servers are measured beside Eaves.
        keep: Whether to keep stored results of other parts; else they are deleted first.
        path: File of the results.
    """
    machine, results = detect_machine(), load_results(path) if keep else {}
    setup = replace(build_setup(parts, environ), is_quick=is_quick, has_peers=has_peers)
    for number, part in enumerate(parts, 1):
        print(f"{part.name} ({number} of {len(parts)})", file=sys.stderr, flush=True)
        results[part.name] = measure_part(part, setup, machine)
        save_results(results, path)
        _print_outcome(results[part.name])


def build_setup(parts: Sequence[Part], environ: Mapping[str, str]) -> Setup:
    """Return the setup of the parts; models are made if one of the parts needs them."""
    if not any(part.needs_model for part in parts):
        return Setup(reason="no part needs a model", environ=environ)
    try:
        return Setup(models=prepare(environ), environ=environ)
    except UnavailableError as error:
        return Setup(reason=str(error), environ=environ)


def measure_part(part: Part, setup: Setup, machine: Machine) -> Result:
    """Measure one part in a process of its own, so that memory and modules of other parts don't affect it."""
    load, start = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder, "setup.json"), Path(folder, "output.json")
        given.write_text(render_setup(setup))
        words = [sys.executable, "-P", "-m", "bench.run", part.name, str(given), str(output)]
        environ = {**setup.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
        found = json.loads(output.read_text()) if output.exists() else None
    reason = f"it failed with {done.returncode}: {' '.join(done.stderr[-300:].split())}" if found is None else ""
    return Result(
        section=parse_section(found["section"]) if found and found["section"] else None,
        reason=found["reason"] if found else reason,
        machine=machine,
        measured_at=utc_now(),
        seconds=time.perf_counter() - start,
        load=load,
        model="; ".join(one.text for one in setup.models) if part.needs_model else "",
    )


def _print_outcome(result: Result) -> None:
    if result.section is None:
        print(f"  not measured: {result.reason}")
        return
    for figure in result.section.figures:
        mark = "" if figure.is_met else "  MISSED"
        value = f"{figure.number(figure.value)} {figure.unit}".rstrip()
        print(f"  {figure.name:56} {value:>10}  {figure.render_bar():16} {figure.measured}{mark}", flush=True)


def main(name: str, given: str, output: str) -> None:
    """Measure one part, and write its section or the reason to the output file."""
    part = next(part for part in PARTS if part.name == name)
    setup = parse_setup(Path(given).read_text(), os.environ)
    found: dict[str, object] = {"section": None, "reason": ""}
    try:
        found["section"] = asdict(part.load()(setup))
    except UnavailableError as error:
        found["reason"] = str(error)
    Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
