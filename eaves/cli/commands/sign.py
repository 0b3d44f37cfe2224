"""The command `eaves sign`, which signs container images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from eaves.cli.output import say
from eaves.cli.registry import access_options

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access


@click.command()
@click.argument("name", metavar="IMAGE")
@click.option("--key", required=True, help="File of the private key, or a key in a service that cosign knows.")
@access_options
def command(name: str, key: str, access: Callable[[], Access]) -> None:
    """Sign the container image IMAGE, HOST/REPOSITORY[:TAG|@DIGEST], by the program cosign.

    Name the image by the digest that `eaves package` printed, because others may move a tag before it is signed. Prints
    the image's name by digest. Nothing is sent to a public log. The key's password is read from COSIGN_PASSWORD, or
    asked for; `cosign generate-key-pair` makes a key.
    """
    from eaves.oci.descriptor import parse_reference
    from eaves.oci.registry.registry import Registry
    from eaves.oci.signatures import sign

    reference, registry = parse_reference(name), access()
    descriptor = Registry(reference, registry).resolve(reference.name)
    if not reference.digest:
        say(f"the tag {name} names {descriptor.digest} now; name the digest to be sure what is signed")
    pinned = reference.pinned(descriptor.digest)
    sign(pinned, key, registry)
    click.echo(str(pinned))
