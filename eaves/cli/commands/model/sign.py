"""The command `eaves sign`, which signs container images and creates keys."""

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

    Name the image by the digest that `eaves package` printed, because others may move a tag before it is signed. Prints
    the image's name by digest. The key's password is read from COSIGN_PASSWORD, or asked for.
    """
    if prefix is not None:
        if name or key:
            raise click.UsageError("--new-key creates a key and signs nothing, so it excludes IMAGE and --key.")
        _make_key(prefix, form)
    elif not name or key is None:
        raise click.UsageError("name the container image to sign and the private key: eaves sign IMAGE --key FILE.")
    else:
        _sign(name, key, plain_http=plain_http, registry_ca=registry_ca, form=form)


def _make_key(prefix: Path, form: str) -> None:
    from eaves.oci.sign.keys import create_key_pair

    public = create_key_pair(prefix, ask_password(new=True))
    if form == "table":
        click.echo(public.id)
    else:
        print_value({"private": f"{prefix}.key", "public": f"{prefix}.pub", "key": public.id}, form)
    say(f"{prefix}.key is the private key, which signs: keep it secret")
    say(f"{prefix}.pub is the public key, which verifies: give it to everybody who deploys")


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
        say(f"the tag {name} names {descriptor.digest} now; name the digest to be sure what is signed")
    signed = sign(registry, reference, descriptor, private)
    pinned = str(reference.pinned(descriptor.digest))
    if form == "table":
        click.echo(pinned)
    else:
        digests = [one.digest for one in signed]
        print_value({"name": pinned, "digest": descriptor.digest, "key": private.public.id, "signed": digests}, form)
    if signed:
        say(f"signed {len(signed)} manifests with the key {private.public.id}")
    else:
        say(f"the key {private.public.id} has already signed it")
