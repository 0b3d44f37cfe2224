"""Keeps the latest result of each part in a JSON file, with the machine and the time of its measurement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.report.machine import ROOT, Machine
from bench.report.section import Section, parse_section
from eaves.base.files import write_atomically

RESULTS = ROOT / "build/bench/results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Outcome of one part: its section, or the reason why it could not be measured.

    Attributes:
        section: Measurements; None when the part could not be measured.
        reason: The reason when there is no section, else empty.
        machine: Machine that ran the part.
        measured_at: Time when the part ended, UTC, as `2026-11-26 17:00`.
        seconds: Duration of the part, seconds.
        load: Load average of the last minute when the part began.
        model: Model that the part used.
    """

    section: Section | None
    reason: str = ""
    machine: Machine
    measured_at: str
    seconds: float
    load: float
    model: str = ""


def load_results(path: Path = RESULTS) -> dict[str, Result]:
    """Return the stored result of each part by the part's name; none when nothing was measured yet."""
    if not path.is_file():
        return {}
    return {name: _parse(values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}


def save_results(results: Mapping[str, Result], path: Path = RESULTS) -> None:
    """Replace the stored results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: asdict(result) for name, result in results.items()}
    write_atomically(path, json.dumps(values, indent=1), mode=0o644)


def _parse(values: dict[str, Any]) -> Result:
    section = None if values["section"] is None else parse_section(values["section"])
    return Result(**{**values, "section": section, "machine": Machine(**values["machine"])})
