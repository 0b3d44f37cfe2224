"""The command `eaves receiver token`, which creates a token for a site."""

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
    """Write a new random token for SITE. A running receiver accepts the token within a second."""
    from eaves.receiver.tokens import add_token

    if keep and replace:
        raise click.UsageError("--keep or --replace, not both.")
    path = add_token(sites, site, keep=keep, replace=replace)
    print_line(path)
    folder, file = shlex.quote(f"{site}-link"), shlex.quote(str(path))
    say(f"to make the site's credentials: (umask 077; mkdir -p {folder}; tail -n 1 {file} > {folder}/token)")
    say("if no public authority signed the receiver's certificate, add its ca.crt to that folder")
    say(f"then move the folder to the site, whose eaves.yaml needs `site: {site}` and the folder in relay.credentials")
    say(f"in a cluster, set relay.secret to a Secret: kubectl create secret generic {folder} --from-file={folder}")
    say(f"keep the token secret: everybody who has it can send events as {site}")
