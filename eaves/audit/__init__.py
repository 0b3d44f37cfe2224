"""Whether everything that was sent over a link was received: two lists of events are compared.

lists       where a list comes from: a file, a spool, a running relay, a receiver
comparison  two lists of any length > what became of each event, by hour
queries     the statements that compare them
findings    the result

A list is read line by line and compared in a temporary file, so a million lines need no more memory than a thousand.
"""

from eaves.audit.comparison import EventComparison
from eaves.audit.findings import Audit, AuditFinding, HourCounts

__all__ = ["Audit", "AuditFinding", "EventComparison", "HourCounts"]
