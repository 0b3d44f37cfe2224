"""The ledger of a spool: one line for each event that was put, which stays when the event has gone.

It is a table in the spool's own file and changes in the same commit as the entry: after a kill a line says exactly what
the queue says. Triggers keep a line's state, so that every writer of the file keeps it, an operator's purge included.
A line of an event that is still in the spool is never deleted; beyond their number the oldest of the others are, and
counted.
"""

from eaves.spool.ledger.ledger import NO_LINE, Ledger, Recalled
from eaves.spool.ledger.line import LedgerCounts, LedgerLimits, LedgerLine, content_digest, line_key

__all__ = ["NO_LINE", "Ledger", "LedgerCounts", "LedgerLimits", "LedgerLine", "Recalled", "content_digest", "line_key"]
