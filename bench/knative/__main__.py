"""Measures cold starts through Knative: `python -m bench.knative --function fp32=IMAGE --function int8=IMAGE`.

The images are made by `eaves package ARTIFACT -t IMAGE`. A round takes about a minute, since every function has to
scale to zero before it: 6 s without requests and Knative's grace period of 30 s.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from bench.knative.report import print_bars, print_phases, print_start
from bench.knative.services import FLOOR, deploy, open_namespace
from eaves.cli.cluster.cold_start_report import build_request
from knative.client.cluster import Cluster
from knative.cold_start import ColdRequest, ColdSubject, measure_in_turn, read_target
from knative.settings import KnativeSettings

ROUNDS = 7


def main() -> None:
    """Deploy, measure in turn, and print the phases."""
    options = parse_arguments()
    settings = KnativeSettings(cpu=options.cpu or KnativeSettings().cpu)
    with open_namespace(options.kubeconfig, options.context) as cluster:
        names = deploy(cluster, dict(options.function), options.floor_image, settings)
        found = measure_in_turn(
            cluster,
            [build_subject(cluster, name, options.image) for name in names],
            options.rounds,
            show=lambda target, start: print_start(target.name, start),
        )
    results = dict(zip(names, found, strict=True))
    print_phases(results)
    print_bars(results)
    if options.json:
        plain = {name: [asdict(start) for start in starts] for name, starts in results.items()}
        options.json.write_text(json.dumps(plain, indent=1))


def build_subject(cluster: Cluster, name: str, image: Path | None) -> ColdSubject:
    """Build what is measured: a function with an image, or the floor with a GET."""
    request = ColdRequest() if name == FLOOR else build_request(image)
    return ColdSubject(target=read_target(cluster, name), request=request)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.knative")
    kubeconfig = os.environ.get("KUBECONFIG")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        default=Path(kubeconfig) if kubeconfig else None,
        help="Kubeconfig file; without it the one that kubectl uses.",
    )
    parser.add_argument("--context", default="", help="Context of the kubeconfig; without it the current one.")
    parser.add_argument(
        "--function", type=split_pair, action="append", required=True, metavar="NAME=IMAGE", help="A function; repeat."
    )
    parser.add_argument("--floor-image", default="", help="Container image of a server that does almost nothing.")
    parser.add_argument("--image", type=Path, help="Image file that is sent; without it a grey JPEG.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cpu", default="", help="CPU request of the functions and the floor.")
    parser.add_argument("--json", type=Path, help="File for every start.")
    return parser.parse_args()


def split_pair(text: str) -> tuple[str, str]:
    """Split `NAME=VALUE`."""
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE (got {text!r})")
    return name, value


if __name__ == "__main__":
    main()
