"""Comparison of two lists of events, which shows whether everything that was sent over a link was received.

lists       reads a list from a file, a spool, a running relay or a receiver
comparison  compares two lists of any length and counts the results
queries     SQL statements of the comparison
findings    result of the comparison

A list is read line by line and compared in a temporary file, so a million lines need no more memory than a thousand.
"""

from eaves.audit.comparison import EventComparison
from eaves.audit.findings import Audit, AuditCounts, AuditFinding

__all__ = ["Audit", "AuditCounts", "AuditFinding", "EventComparison"]
