"""Runs the experiment on the link between edge and cloud, and draws its figures: `python -m bench.link`.

The result of each link is a file in build/experiment; a link whose result exists is not measured again, so the
experiment can be done in several sittings.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import zlib
from pathlib import Path

from bench.link import conditions
from bench.link.page import write_page
from bench.link.run import Plan, run, say
from bench.material import SHARED, Material, prepare
from bench.report import UnavailableError

HERE = Path("build/experiment")
MODEL = "inception_v3"
"""Architecture that predicts; the default one where its weights are missing."""


def main() -> None:
    """Measure the links that the command line names, then write the figures and tables."""
    # A shell's background job ignores SIGINT, and SIGTERM would leave processes and namespaces behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    options = parse_arguments()
    models = prepare()
    material = next((one for one in models if one.name == MODEL), models[0])
    photos = find_photos(material)
    for condition in options.links:
        path = HERE / f"link-{condition.name}.json"
        if path.exists() and not options.again:
            say(f"{condition.name}: {path} exists already")
            continue
        say(f"{condition.name}: {condition.text}; {options.minutes:g} minutes")
        plan = Plan(
            condition=condition,
            seconds=options.minutes * 60,
            artifact=material.precisions["fp32"],
            photos=photos,
            kill_mean_s=options.kill_mean_s,
            seed=zlib.crc32(condition.name.encode()),
            kind=options.kind,
        )
        result = {**run(plan, HERE / condition.name), "model": material.name}
        path.write_text(json.dumps(result, indent=1))
    try:
        for path in write_page(HERE):
            say(f"written: {path}")
    except UnavailableError as error:
        say(str(error))


def find_photos(material: Material) -> list[bytes]:
    """Return the photos of flowers, or the model's golden images without them, in a fixed order that mixes classes."""
    paths = sorted((SHARED / "data/flowers").rglob("*.jpg")) or sorted(material.precisions["fp32"].glob("golden/*.jpg"))
    random.Random(0).shuffle(paths)
    return [path.read_bytes() for path in paths]


def parse_arguments() -> argparse.Namespace:
    """Parse the arguments that the Makefile passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--links", type=conditions.find, default="", help="names of links, separated by commas; all links if empty"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes for each link")
    parser.add_argument("--again", action="store_true", help="also measure the links whose results exist already")
    parser.add_argument("--kind", default="", choices=("", "packets", "proxy"), help="kind of link; packets need root")
    parser.add_argument("--kill-mean-s", type=float, default=30.0, help="mean seconds between two kills")
    return parser.parse_args()


if __name__ == "__main__":
    main()
