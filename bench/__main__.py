"""Runs benchmarks: `python -m bench [--quick] [--no-peers] [PART,PART ...]` writes docs/benchmarks.md.

Without a name it measures all parts anew. With names of parts, such as `one_at_a_time,package`, it measures these and
keeps the latest results of the others. `--quick` makes short runs, and `--no-peers` leaves other servers out.

`python -m bench page` writes the page again from the stored results, and `python -m bench prepare` only makes the
models and installs the other servers. A name in `bench.registry.PRINTED` runs a benchmark that only prints its tables.
"""

from __future__ import annotations

import importlib
import os
import sys

from bench import run
from bench.material import Setup, prepare
from bench.registry import PARTS, PRINTED
from bench.report.page import write_page
from bench.report.store import load_results
from bench.servers.catalogue import install_peers


def main(*words: str) -> None:
    """Run what the words of the command line name."""
    names = [name for word in words if not word.startswith("-") for name in word.split(",") if name]
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in {*known, *PRINTED, "page", "prepare"}:
            sys.exit(
                f"error: there is no benchmark {name!r}\ntry: some of {', '.join([*known, *PRINTED])}, page, prepare"
            )
    if "prepare" in names:
        install_peers(Setup(environ=os.environ), prepare(os.environ)[0])
    for name in names:
        if name in PRINTED:
            importlib.import_module(f"bench.{PRINTED[name]}").main()
    chosen = [known[name] for name in names if name in known]
    if chosen or not names:
        options = {"is_quick": "--quick" in words, "has_peers": "--no-peers" not in words}
        run.measure_parts(chosen or PARTS, os.environ, keep=bool(chosen), **options)
    if chosen or not names or "page" in names:
        print(f"written: {write_page(load_results())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
