"""Relay and receiver over a bad link, for long.

    python -m tests.soak.link --runs 20 --events 5000 --seed 0     a flapping link, both ends killed; a line a run
    python -m tests.soak.link --drain 100000                       a backlog over a link of 20 Mbit/s and 50 ms

Runs end with 1 when an event was lost, doubled or changed, or when a ledger disagrees; that run's files are kept. A
drain ends with 1 when the relay's memory grows.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.link.proxy import Link
from tests.jepsen.draining import drain
from tests.jepsen.flapping import FAULTS, run

MAX_BYTES, GROWTH_BYTES = 50_000_000, 4_000_000
"""Most memory of the relay that drains, and how much of it the second half of a drain may add."""


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next one has the next seed")
    parser.add_argument("--drain", type=int, default=0, metavar="EVENTS", help="drain a backlog instead")
    parser.add_argument("--mbit-s", type=float, default=20.0, help="of the link that is drained over; 0: unlimited")
    parser.add_argument("--round-trip-ms", type=float, default=50.0, help="of that link")
    arguments = parser.parse_args()
    if arguments.drain:
        return _drain(arguments.drain, arguments.mbit_s, arguments.round_trip_ms)
    return _run(arguments.runs, arguments.events, arguments.seed)


def _run(runs: int, events: int, first_seed: int) -> int:
    failed = 0
    for seed in range(first_seed, first_seed + runs):
        folder = Path(tempfile.mkdtemp(prefix=f"eaves-link-{seed}-"))
        outcome = run(folder, events, seed, faults=FAULTS * 2)
        if outcome.is_clean:
            shutil.rmtree(folder)
        else:
            failed += 1
        _say(f"seed {seed}: {outcome.line()}{'' if outcome.is_clean else f' FAILED, see {folder}'}")
    _say(f"{runs - failed} of {runs} runs of {events} events lost nothing")
    return 1 if failed else 0


def _drain(events: int, mbit_s: float, round_trip_ms: float) -> int:
    with tempfile.TemporaryDirectory(prefix="eaves-drain-") as folder:
        drained = drain(Path(folder), events, Link(delay_ms=round_trip_ms / 2, mbit_s=mbit_s))
    _say(drained.line(mbit_s))
    half = drained.rss_bytes[len(drained.rss_bytes) // 2 :]
    return 0 if max(drained.rss_bytes) < MAX_BYTES and max(half) - min(half) < GROWTH_BYTES else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
