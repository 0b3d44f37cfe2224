"""`eaves diff`."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.output import output_option, print_rows, print_value, say
from eaves.cli.registries import access_options, build_access, default_platform

COLUMNS = {"what": "PIECE", "size_bytes": "BYTES", "there": "ON THE NODE", "digest": "DIGEST"}


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--platform", default=default_platform, help="Of the node, such as linux/arm64; this machine's.")
@access_options
@output_option
def command(old: str, new: str, platform: str, plain_http: bool, registry_ca: Path | None, form: str) -> None:
    """Show what a node that has OLD must fetch to have NEW, in bytes.

    OLD and NEW are references, or oci:DIR[:NAME].
    """
    from eaves.oci.delta import diff
    from eaves.oci.descriptor import parse_platform
    from eaves.oci.places import open_place

    access = build_access(plain_http=plain_http, registry_ca=registry_ca)
    first, second = open_place(old, access), open_place(new, access)
    delta = diff((first.store, first.resolve()), (second.store, second.resolve()), parse_platform(platform))
    rows = [
        {
            "what": step.what,
            "size_bytes": step.descriptor.size,
            "there": step.there,
            "digest": step.descriptor.digest,
        }
        for step in delta.steps
    ]
    if form == "table":
        print_rows([{**row, "there": "yes" if row["there"] else "no"} for row in rows], COLUMNS, form)
    else:
        print_value({"fetched_bytes": delta.fetched_bytes, "total_bytes": delta.total_bytes, "pieces": rows}, form)
    share = f", 1/{delta.total_bytes / delta.fetched_bytes:.0f} of it" if delta.fetched_bytes else ""
    say(f"{delta.fetched_bytes} bytes to fetch, of {delta.total_bytes}{share}")
