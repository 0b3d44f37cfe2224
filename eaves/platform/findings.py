"""Findings of the doctor, about this machine or a site's cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"
SEVERITIES = (OK, NOTE, WARNING, ERROR)
"""Severities from the best to the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
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


def ok(check: str, message: str) -> Finding:
    """Build a finding without a fault."""
    return Finding(severity=OK, check=check, message=message)


def note(check: str, message: str, fix: str = "") -> Finding:
    """Build a finding for information."""
    return Finding(severity=NOTE, check=check, message=message, fix=fix)


def warning(check: str, message: str, fix: str) -> Finding:
    """Build a finding about an app that works, but not as safely as documented."""
    return Finding(severity=WARNING, check=check, message=message, fix=fix)


def error(check: str, message: str, fix: str) -> Finding:
    """Build a finding about an app that won't work."""
    return Finding(severity=ERROR, check=check, message=message, fix=fix)
