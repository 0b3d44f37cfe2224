"""The ledger of a spool: one line for each event that was put, which stays after the event was delivered.

The ledger is a table in the spool's file and changes in the same commit as the entry, so that after a kill a line's
state agrees with the queue. SQL triggers update a line's state for every writer of the file, including an operator's
purge. The line of an event that is still in the spool is never deleted. Of the other lines, the oldest ones beyond the
maximum number of lines are deleted and counted.
"""

from eaves.spool.ledger.ledger import NO_LINE, Ledger, Recalled
from eaves.spool.ledger.line import LedgerCounts, LedgerLimits, LedgerLine, content_digest, line_key

__all__ = ["NO_LINE", "Ledger", "LedgerCounts", "LedgerLimits", "LedgerLine", "Recalled", "content_digest", "line_key"]
