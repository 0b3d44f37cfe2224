"""`eaves reconcile`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eaves.cli.arguments import file_option
from eaves.cli.clusters import Choice, cluster_options, load_scope, read_choice
from eaves.cli.fleet import Visit, fleet_options, run_visibly
from eaves.cli.images import image_options
from eaves.cli.output import output_option
from eaves.cli.rolling import build_order, update_sites


@click.command()
@click.argument("image", metavar="[IMAGE]", default="")
@file_option
@cluster_options
@image_options
@fleet_options
@output_option
def command(
    image: str, file: Path, key: Path | None, offline: bool, plain_http: bool, registry_ca: Path | None,
    parallel: int, max_failures: int | None, form: str, **clusters: Any,
) -> None:  # fmt: skip
    """Take every chosen site one step towards what is wanted, and end: safe to be called by a clock, from anywhere.

    Sites that a deploy couldn't reach get what was deployed last (or IMAGE); what has drifted is put right; a rollout
    that does well gets its next share, one that doesn't is rolled back. Without an eaves.yaml only rollouts go on, of
    every function in the namespace.
    """
    choice = read_choice(**clusters)
    if not file.exists():
        _advance_all(file, choice, parallel=parallel, max_failures=max_failures, form=form)
        return
    order = build_order(
        image, file, choice, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca, kept=True
    )
    update_sites(
        order,
        lambda site: order.wanted(site, advance=True),
        again="eaves reconcile",
        parallel=parallel,
        max_failures=max_failures,
        form=form,
    )


def _advance_all(file: Path, choice: Choice, *, parallel: int, max_failures: int | None, form: str) -> None:
    def advance(visit: Visit) -> str:
        from knative.update import advance_all, describe

        outcomes = advance_all(visit.cluster())
        return "; ".join(f"{outcome.name}: {describe(outcome)}" for outcome in outcomes) or "no functions here"

    run_visibly(
        load_scope(file),
        choice,
        advance,
        again="eaves reconcile",
        parallel=parallel,
        max_failures=max_failures,
        form=form,
    )
