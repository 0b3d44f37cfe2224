"""Runs of a relay and a receiver over a flapping link, both killed at random; a line a run.

    python -m tests.soak.link --runs 20 --events 5000 --seed 0

Exits with 1 when an event was lost, doubled or changed, or when a ledger disagrees; that run's files are kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.jepsen.flapping import FAULTS, run


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the next one has the next seed")
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        folder = Path(tempfile.mkdtemp(prefix=f"eaves-link-{seed}-"))
        outcome = run(folder, arguments.events, seed, faults=FAULTS * 2)
        if outcome.is_clean:
            shutil.rmtree(folder)
        else:
            failed += 1
        sys.stdout.write(f"seed {seed}: {outcome.line()}{'' if outcome.is_clean else f' FAILED, see {folder}'}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{arguments.runs - failed} of {arguments.runs} runs of {arguments.events} events lost nothing\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
