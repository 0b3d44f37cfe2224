"""`python -m tests.fuzz [COUNT [SEED]]`."""

import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.fuzz.run import BATCH, Fuzzer
from tests.fuzz.targets import build_makers

FOLDER = Path("build/fuzz")


def main(count: int = 100_000, seed: int = 0) -> int:
    """Feed so many; prints the rate and what was found, and returns how much that is."""
    warnings.simplefilter("ignore")  # as a function process has it: eaves/logs.py
    logging.disable()
    found, start = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(seed, FOLDER, build_makers(Path(folder)))
        for first in range(0, count, BATCH):
            for finding in fuzzer.batch(first, min(BATCH, count - first)):
                found += 1
                print(finding, flush=True)
            done = min(first + BATCH, count)
            if done % (50 * BATCH) == 0 or done == count:
                rate = done / (time.monotonic() - start)
                print(f"{done} of {count}, {rate:.0f}/s, {found} findings (seed {seed}, {FOLDER})", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:3])) else 0)
