"""`python -m bench.rollout [--rollouts 400] [--processes 2]`."""

from __future__ import annotations

import argparse
import sys

from bench.rollout.table import build_table, render

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.rollout")
    parser.add_argument("--rollouts", type=int, default=400, help="Simulated rollouts a line.")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    rows = build_table(given.rollouts, processes=given.processes)
    print("\n".join(render(rows)))
    if missed := [row for row in rows if not row.within_bar]:
        sys.exit(
            "\n".join(f"error: {row.scenario.name} at {row.per_second:g}/s is not as it must be" for row in missed)
        )
