"""The command `eaves sign`, which signs container images."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.display.output import output_option, print_value, say
from eaves.cli.registry_options import access_options, build_access


@click.command()
@click.argument("name", metavar="IMAGE")
@click.option("--key", required=True, help="File of the private key, or a key in a service that cosign knows.")
@access_options
@output_option
def command(name: str, key: str, plain_http: bool, registry_ca: Path | None, form: str) -> None:
    """Sign the container image IMAGE, HOST/REPOSITORY[:TAG|@DIGEST], by the program cosign.

    Name the image by the digest that `eaves package` printed, because others may move a tag before it is signed. Prints
    the image's name by digest. Nothing is sent to a public log. The key's password is read from COSIGN_PASSWORD, or
    asked for; `cosign generate-key-pair` makes a key.
    """
    from eaves.oci.descriptor import parse_reference
    from eaves.oci.registry.registry import Registry
    from eaves.oci.signatures import sign

    reference = parse_reference(name)
    access = build_access(plain_http=plain_http, registry_ca=registry_ca)
    descriptor = Registry(reference, access).resolve(reference.name)
    if not reference.digest:
        say(f"the tag {name} names {descriptor.digest} now; name the digest to be sure what is signed")
    pinned = reference.pinned(descriptor.digest)
    sign(pinned, key, access)
    if form == "table":
        click.echo(str(pinned))
    else:
        print_value({"name": str(pinned), "digest": descriptor.digest}, form)
