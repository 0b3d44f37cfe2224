"""`eaves receiver token`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from eaves.cli.display.output import print_line, say


@click.command("token")
@click.argument("site")
@click.option(
    "--sites",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sites"),
    show_default=True,
    help="Folder of the sites' tokens.",
)
@click.option("--keep", is_flag=True, help="Keep the existing tokens valid while the site changes to the new one.")
@click.option("--replace", is_flag=True, help="Replace the existing tokens, which become invalid.")
def command(site: str, sites: Path, keep: bool, replace: bool) -> None:
    """Write a new random token for SITE, which lets it in. A running receiver accepts it within a second."""
    from eaves.receiver.tokens import add_token

    if keep and replace:
        raise click.UsageError("--keep or --replace, not both.")
    path = add_token(sites, site, keep=keep, replace=replace)
    print_line(path)
    folder, file = shlex.quote(f"{site}-link"), shlex.quote(str(path))
    say(f"credentials for the site: (umask 077; mkdir -p {folder}; tail -n 1 {file} > {folder}/token)")
    say("hand that folder over, with the receiver's ca.crt in it where its certificate is not a public one's: it is")
    say(f"relay.credentials of the site's eaves.yaml, whose site must be {site}; on a cluster relay.secret, made by")
    say(f"kubectl create secret generic {folder} --from-file={folder}. Who has the token can send as {site}.")
