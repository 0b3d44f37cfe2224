"""Findings of the doctor, about this machine or a site's cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"
SEVERITIES = (OK, NOTE, WARNING, ERROR)
"""Severities from the best to the worst."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        severity: `ok`; `note` for information; `warning` when the app works, but not as safely as documented; `error`
            when the app won't work.
        check: Name of the check, one word.
        message: What was seen.
        fix: The command or the change of eaves.yaml that fixes it; empty when nothing is wrong.
    """

    severity: str
    check: str
    message: str
    fix: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst severity; `ok` when there are no findings."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=OK)


ok, note, warning, error = (partial(Finding, severity) for severity in SEVERITIES)
"""Functions that build a finding from check, message and fix."""
