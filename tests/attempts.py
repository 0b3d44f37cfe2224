"""Attempts of a deliverer, as its observer sees them."""

from dataclasses import dataclass

from eaves.delivery import AttemptResult, DeliveryOutcome
from eaves.spool import Entry


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """One attempt; the arguments of an observer."""

    entry: Entry
    outcome: DeliveryOutcome
    result: AttemptResult

    @property
    def status(self) -> int:
        """HTTP status that decided the outcome."""
        return self.result.status

    @property
    def reason(self) -> str:
        """Reason for a failure."""
        return self.result.reason


class Attempts(list[SeenAttempt]):
    """A list that `observe` adds to."""

    def observe(self, entry: Entry, outcome: DeliveryOutcome, result: AttemptResult) -> None:
        """Add an attempt."""
        self.append(SeenAttempt(entry, outcome, result))
