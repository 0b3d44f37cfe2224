"""Runs the experiment on the link between edge and cloud, and draws its figures: `python -m bench.link`.

Each part writes its result to a file in build/experiment. A part whose result exists is not run again, so the
experiment can be done in several sittings.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import zlib
from pathlib import Path

from bench.link import conditions, crossover, update
from bench.link.material import SHARED, Material, prepare
from bench.link.plots.page import write_page
from bench.link.run import Plan, run, write_result

HERE = Path("build/experiment")


def main() -> None:
    """Run the parts of the experiment that the command line names, then write the figures and tables."""
    # A shell's background job ignores SIGINT, and SIGTERM would leave processes and namespaces behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    options = parse_arguments()
    material = prepare(HERE / "model", options.shared, say)
    if "links" in options.parts:
        for condition in options.links:
            run_link(condition, material, options)
    if "alone" in options.parts:
        run_link(conditions.ALONE, material, options, arms=("edge",), kill_mean_s=0.0)
    if "crossover" in options.parts:
        run_crossover(material, options)
    if "updates" in options.parts:
        run_updates(material, options)
    for path in write_page(HERE):
        say(f"written: {path}")


def run_link(
    condition: conditions.Condition,
    material: Material,
    options: argparse.Namespace,
    *,
    arms: tuple[str, ...] = ("edge", "cloud"),
    kill_mean_s: float | None = None,
) -> None:
    """Measure the given setups (edge, cloud-only) on one link, and write the result file, unless it exists.

    `kill_mean_s` is the mean time between two killed processes; 0: none is killed; None: as on the command line.
    """
    minutes = options.minutes or condition.run_minutes(full=options.full)
    path = HERE / f"link-{condition.name}.json"
    if is_done(path, minutes * 60, again=options.again):
        say(f"{condition.name}: {path} exists already")
        return
    say(f"{condition.name}: {condition.text}; {minutes:g} minutes")
    plan = Plan(
        condition=condition,
        seconds=minutes * 60,
        artifact=material.artifact,
        photos=[photo.read_bytes() for photo in material.photos],
        kill_mean_s=options.kill_mean_s if kill_mean_s is None else kill_mean_s,
        seed=zlib.crc32(condition.name.encode()),
        kind=options.kind,
        arms=arms,
    )
    write_result({**run(plan, HERE / condition.name, say), "model": material.text}, path)


def run_crossover(material: Material, options: argparse.Namespace) -> None:
    """Compare the edge setup with the cloud-only setup for several bandwidths and photo sizes, unless it is done."""
    path = HERE / "crossover.json"
    if path.exists() and not options.again:
        say(f"crossover: {path} exists already")
        return
    say("crossover: both arms over links of different bandwidths, with photos of different sizes")
    photo = material.photos[0].read_bytes()
    found = crossover.run(material.artifact, photo, HERE / "crossover", say, kind=options.kind)
    write_result({**found, "model": material.text}, path)


def run_updates(material: Material, options: argparse.Namespace) -> None:
    """Measure two updates of a model over a bad link, unless their results exist.

    One update replaces the head only, the other one the whole model.
    """
    for one in (
        update.Update(name="head", text="a new head on the same backbone", old=material.artifact, new=material.head),
        update.Update(name="full", text="another backbone (int8)", old=material.artifact, new=material.other),
    ):
        path = HERE / f"update-{one.name}.json"
        if path.exists() and not options.again:
            say(f"update {one.name}: {path} exists already")
            continue
        say(f"update {one.name}: {one.text}")
        photo = material.photos[0].read_bytes()
        found = update.run(one, HERE / f"update-{one.name}", photo=photo, kind=options.kind)
        write_result({**found, "model": material.text}, path)


def is_done(path: Path, seconds: float, *, again: bool) -> bool:
    """Return whether a link has a result file of a measurement of at least `seconds`; False if `again`."""
    if again or not path.exists():
        return False
    return float(json.loads(path.read_text())["seconds"]) >= seconds - 1


def say(text: str) -> None:
    """Write a line of progress to stderr, with the time of day."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def parse_arguments() -> argparse.Namespace:
    """Parse the arguments that the Makefile passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--links", type=conditions.find, default="", help=("names of links, separated by commas; all links if empty")
    )
    parser.add_argument(
        "--minutes", type=float, default=0.0, help=("minutes for each link; 0 uses each link's own duration")
    )
    parser.add_argument(
        "--full", action="store_true", help=("run the full length: 10 minutes for each link, 30 for `down`")
    )
    parser.add_argument("--again", action="store_true", help="also run the parts whose results exist already")
    parser.add_argument("--parts", default="links,alone,crossover,updates", help="parts to run")
    parser.add_argument("--kind", default="", choices=("", "packets", "proxy"), help="kind of link; packets need root")
    parser.add_argument("--kill-mean-s", type=float, default=30.0, help="mean seconds between two kills")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder that contains data/flowers and weights")
    return parser.parse_args()


if __name__ == "__main__":
    main()
