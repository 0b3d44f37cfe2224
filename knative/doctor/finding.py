"""What an examination finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"
SEVERITIES = (OK, NOTE, WARNING, ERROR)
"""From the best to the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One thing that was looked at.

    Attributes:
        severity: `ok`; `note`: good to know; `warning`: it works, and a promise isn't kept; `error`: it won't work.
        check: What was looked at, a word.
        message: What was seen.
        fix: The command or the edit of eaves.yaml that mends it; empty where there is nothing to mend.
    """

    severity: str
    check: str
    message: str
    fix: str = ""


def worst(findings: Iterable[DoctorFinding]) -> str:
    """The worst severity; `ok` when nothing was looked at."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=OK)


def ok(check: str, message: str) -> DoctorFinding:
    """All is well."""
    return DoctorFinding(severity=OK, check=check, message=message)


def note(check: str, message: str, fix: str = "") -> DoctorFinding:
    """Good to know."""
    return DoctorFinding(severity=NOTE, check=check, message=message, fix=fix)


def warning(check: str, message: str, fix: str) -> DoctorFinding:
    """It works, and a promise isn't kept."""
    return DoctorFinding(severity=WARNING, check=check, message=message, fix=fix)


def error(check: str, message: str, fix: str) -> DoctorFinding:
    """It won't work."""
    return DoctorFinding(severity=ERROR, check=check, message=message, fix=fix)
