"""The command `eaves diff`, which shows the changes that a deploy would make in a cluster."""

from __future__ import annotations

import click

from eaves.cli.output import print_line, say
from eaves.cli.registry import ImageChoice, image_options
from eaves.cli.site import Place, place_options
from eaves.errors import EavesError


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@place_options("file", "on", "all")
@image_options
def command(image: str, place: Place, images: ImageChoice) -> None:
    """Show the changes that `eaves deploy IMAGE --on knative` would make to the objects at each site.

    The API server computes them, and changes nothing. The command ends with exit code 1 when there are changes.
    """
    from eaves.cli.deployment import build_deploy_request, diff_sites

    outcomes = diff_sites(build_deploy_request(image, place, images))
    for outcome in outcomes:
        if outcome.result and len(outcomes) > 1:
            print_line(f"# {outcome.site}")
        for line in outcome.result or ():
            print_line(line)
        if outcome.error is not None:
            say(f"{outcome.site}: {outcome.error}")
    place.report(outcomes, "eaves diff")
    if any(outcome.result for outcome in outcomes):
        raise EavesError("objects in the cluster differ from those of a deploy", hint="eaves deploy --on knative")
    say("a deploy would change nothing")
