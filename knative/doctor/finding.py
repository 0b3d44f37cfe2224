"""The result of one check of the doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"
SEVERITIES = (OK, NOTE, WARNING, ERROR)
"""Severities from the best to the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
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


def worst(findings: Iterable[DoctorFinding]) -> str:
    """Return the worst severity; `ok` when there are no findings."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=OK)


def ok(check: str, message: str) -> DoctorFinding:
    """Build a finding without a fault."""
    return DoctorFinding(severity=OK, check=check, message=message)


def note(check: str, message: str, fix: str = "") -> DoctorFinding:
    """Build a finding for information."""
    return DoctorFinding(severity=NOTE, check=check, message=message, fix=fix)


def warning(check: str, message: str, fix: str) -> DoctorFinding:
    """Build a finding about an app that works, but not as safely as documented."""
    return DoctorFinding(severity=WARNING, check=check, message=message, fix=fix)


def error(check: str, message: str, fix: str) -> DoctorFinding:
    """Build a finding about an app that won't work."""
    return DoctorFinding(severity=ERROR, check=check, message=message, fix=fix)
