"""Whose fault a refusal is: judged by how other entries fared on the same way.

A proxy that answers 403 to everything and a firewall that answers 403 to one image look alike from that one image. What
tells them apart is whether other entries get through meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

ROUNDS = 3
"""Refusals, with others getting through between them, before an entry is held to be at fault."""
MAX_CHANCE = 1e-5
"""How likely it may be that so many refusals hit one entry by chance."""
MOST_COUNTED = 8
"""Refusals of one entry that are counted. Of one whose refusals are chance few are ever in a row, and many entries that
are at fault and come again and again don't hide each other's."""
MAX_SUSPECTS = 10_000
"""Entries remembered; the one refused longest ago is forgotten first and begins anew. About 200 bytes each."""


@dataclass(slots=True)
class _Suspect:
    """What is known of an entry that was refused.

    Attributes:
        rounds: Refusals between which another entry got through, the first included.
        refusals: Refusals in all, as far as they are counted.
        passes: Entries that had got through when it was last refused.
        passes_before: Entries that had got through when its first round began.
        refusals_before: Refusals of other entries up to then.
    """

    rounds: int
    refusals: int
    passes: int
    passes_before: int
    refusals_before: int


class RefusalHistory:
    """The refusals and successes of one lane. Not safe for threads: its caller holds a lock."""

    def __init__(self) -> None:
        self._passes = 0
        self._refusals = 0
        self._suspects: OrderedDict[int, _Suspect] = OrderedDict()

    def passed(self, seq: int) -> None:
        """An entry got through."""
        self._passes += 1
        self._suspects.pop(seq, None)

    def refused(self, seq: int) -> bool:
        """An entry was refused; whether that is its own fault.

        It is after three rounds when many others got through and none was refused, and after ten at most. Where
        others were refused as well, say by one of two replicas, it takes as many rounds as make it unlikely that chance
        hit this one each time.
        """
        suspect = self._suspects.get(seq)
        if suspect is None:
            suspect = _Suspect(1, 0, self._passes, self._passes, self._refusals)
            self._suspects[seq] = suspect
            if len(self._suspects) > MAX_SUSPECTS:
                self._suspects.popitem(last=False)
        self._suspects.move_to_end(seq)
        if suspect.refusals < MOST_COUNTED:
            suspect.refusals += 1
            self._refusals += 1
        if self._passes == suspect.passes:
            if suspect.rounds == 1:  # nobody got through since: its first round begins only now
                suspect.passes_before = self._passes
                suspect.refusals_before = self._refusals - suspect.refusals
            return False
        suspect.rounds += 1
        suspect.passes = self._passes
        if suspect.rounds < ROUNDS or not self._is_unlikely(suspect):
            return False
        self._refusals -= suspect.refusals  # they say nothing about the way
        del self._suspects[seq]
        return True

    def _is_unlikely(self, suspect: _Suspect) -> bool:
        refused = max(0, self._refusals - suspect.refusals - suspect.refusals_before)
        passed = self._passes - suspect.passes_before
        chance = 1.0
        for number in range(suspect.rounds):  # Laplace's rule of succession, once for each refusal
            chance *= (refused + 1 + number) / (refused + passed + 2 + number)
        return chance <= MAX_CHANCE
