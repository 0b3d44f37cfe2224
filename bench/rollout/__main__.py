"""Prints the table of simulated rollouts: `python -m bench.rollout [--rollouts 300] [--processes 2]`."""

from __future__ import annotations

import argparse
import sys

from bench.rollout.table import HEAD, build_rows, render

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.rollout")
    parser.add_argument("--rollouts", type=int, default=300, help="Number of simulated rollouts for each line.")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    print(HEAD)
    missed = []
    for row in build_rows(given.rollouts, processes=given.processes):
        print(render(row), flush=True)
        missed += (
            [] if row.within_bar else [(f"error: {row.scenario.name} at {row.per_second:g}/s is outside its bounds")]
        )
    sys.exit("\n".join(missed) or None)
