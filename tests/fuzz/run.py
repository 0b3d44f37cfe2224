"""Feeds inputs by the thousand to processes of their own, which may die of them."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz import targets
from tests.fuzz.targets import Attempt
from tests.proc import memory_bytes

MAX_CPU_S = 0.5
MAX_MEMORY = 100 * 2**20
"""64 MB, and what a forked process maps of its libraries' code once it runs."""
BATCH = 1000

Make = Callable[[random.Random], Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong.

    Attributes:
        number: Number of the input, or of the first of a batch.
        target: What it was fed to.
        reason: What happened.
        file: What it was, below the folder of findings; empty for a batch.
    """

    number: int
    target: str
    reason: str
    file: str = ""


class Fuzzer:
    """Makes inputs of a seed and feeds them.

    Args:
        seed: Seed of all random choices.
        folder: For findings.
        makers: Makers of inputs; each is chosen as often as it is listed.
    """

    def __init__(self, seed: int, folder: Path, makers: Sequence[Make]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._seed, self._folder, self._makers = seed, folder, makers
        targets.files()  # made before a process is measured that uses them

    def attempt(self, number: int) -> Finding | None:
        """Feed one input."""
        chance = random.Random(f"{self._seed} {number}")
        make = chance.choice(self._makers)
        attempt = make(chance)
        start = time.thread_time()
        try:
            attempt.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            return self._found(number, make, attempt, f"{type(error).__name__}: {error}")
        if (seconds := time.thread_time() - start) > MAX_CPU_S:
            return self._found(number, make, attempt, f"{seconds:.1f} CPU s")
        return None

    def _found(self, number: int, make: Make, attempt: Attempt, reason: str) -> Finding:
        target = make.__qualname__.partition(".")[0]
        file = self._folder / f"{self._seed}-{number}.{target}"
        file.write_bytes(attempt.data)
        return Finding(number=number, target=target, reason=reason[:300], file=file.name)

    def batch(self, start: int, count: int) -> Iterator[Finding]:
        """Feed some inputs in a process of their own."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as said:
                print(memory_bytes(), file=said, flush=True)
                for finding in filter(None, map(self.attempt, range(start, start + count))):
                    print(json.dumps(asdict(finding)), file=said, flush=True)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as heard:
            resting = int(next(heard))
            yield from (Finding(**json.loads(line)) for line in heard)
        _, status, usage = os.wait4(child, 0)
        if code := os.waitstatus_to_exitcode(status):
            yield Finding(number=start, target="all", reason=f"one of {count} ended the process with {code}")
        if (more := usage.ru_maxrss * 1024 - resting) > MAX_MEMORY:
            yield Finding(number=start, target="all", reason=f"one of {count} took {more / 2**20:.0f} MB")
