"""`eaves sign`."""

from __future__ import annotations

from pathlib import Path

import click

from eaves.cli.display.output import output_option, print_value, say
from eaves.cli.registry_options import access_options, build_access
from eaves.cli.signatures import ask_password


@click.command()
@click.argument("name", metavar="[IMAGE]", default="")
@click.option("--key", type=click.Path(path_type=Path), help="File of the private key, in cosign's format or PEM.")
@click.option(
    "--new-key",
    "prefix",
    metavar="PREFIX",
    type=click.Path(path_type=Path),
    help="Create a key pair instead, PREFIX.key and PREFIX.pub, in cosign's format.",
)
@access_options
@output_option
def command(
    name: str, key: Path | None, prefix: Path | None, plain_http: bool, registry_ca: Path | None, form: str
) -> None:
    """Sign the container image IMAGE, HOST/REPOSITORY[:TAG|@DIGEST], in the format of cosign.

    Name it by the digest that `eaves package` printed: a tag may be moved by others before it is signed. Prints its
    name by digest. A password comes from COSIGN_PASSWORD, or is asked for.
    """
    if prefix is not None:
        if name or key:
            raise click.UsageError("--new-key makes a key and signs nothing.")
        _make_key(prefix, form)
    elif not name or key is None:
        raise click.UsageError("say what to sign, and by which --key.")
    else:
        _sign(name, key, plain_http=plain_http, registry_ca=registry_ca, form=form)


def _make_key(prefix: Path, form: str) -> None:
    from eaves.oci.sign.keys import create_key_pair

    public = create_key_pair(prefix, ask_password(new=True))
    if form == "table":
        click.echo(public.id)
    else:
        print_value({"private": f"{prefix}.key", "public": f"{prefix}.pub", "key": public.id}, form)
    say(f"{prefix}.key signs: keep it from others. {prefix}.pub verifies: give it to all who deploy.")


def _sign(name: str, key: Path, *, plain_http: bool, registry_ca: Path | None, form: str) -> None:
    from eaves.oci.reference import parse_reference
    from eaves.oci.registry.registry import Registry
    from eaves.oci.sign.keys import load_private_key
    from eaves.oci.sign.signature import sign

    reference = parse_reference(name)
    private = load_private_key(key, ask_password)
    registry = Registry(reference, build_access(plain_http=plain_http, registry_ca=registry_ca))
    descriptor = registry.resolve(reference.name)
    if not reference.digest:
        say(f"{name} is {descriptor.digest} now; a name by digest is surer")
    signed = sign(registry, reference, descriptor, private)
    pinned = str(reference.pinned(descriptor.digest))
    if form == "table":
        click.echo(pinned)
    else:
        digests = [one.digest for one in signed]
        print_value({"name": pinned, "digest": descriptor.digest, "key": private.public.id, "signed": digests}, form)
    say(f"signed {len(signed)} manifests by {private.public.id}" if signed else "this key had signed it already")
