"""Container images and keys on the command line, for `eaves sign` and `eaves verify`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.base.terminal import escape
from eaves.cli.display.output import print_value, progress, say
from eaves.errors import OciError

if TYPE_CHECKING:
    from eaves.oci.descriptor import Descriptor
    from eaves.oci.image_location import ImageLocation
    from eaves.oci.registry.registry import Access
    from eaves.oci.sign.integrity import Checked
    from eaves.oci.sign.signature import Signed

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - the variable's name
_AT_A_REGISTRY = re.compile(r"[^./][^/]*[.:][^/]*/.+|localhost/.+|.+@sha256:[0-9a-f]{64}|oci:.*")


def is_container_image(text: str) -> bool:
    """Return whether a name on the command line is that of a container image.

    The path of an existing file or folder is not; it names an artifact.
    """
    return bool(_AT_A_REGISTRY.fullmatch(text)) and not Path(text).exists()


def ask_password(*, new: bool = False) -> bytes:
    """Return a key's password from the variable COSIGN_PASSWORD; ask for it on the terminal when that isn't set.

    Raises:
        OciError: When the variable isn't set and stdin is no terminal.
    """
    if PASSWORD in os.environ:
        return os.environb[PASSWORD.encode()]
    if not sys.stdin.isatty():
        raise OciError(
            "the key's password is not known, and there is no terminal to ask for it",
            hint=f"set {PASSWORD} to the password, or to an empty text for a key without one",
        )
    text = "Password of the new key (empty: none)" if new else "Password of the key"
    typed = click.prompt(text, default="", show_default=False, hide_input=True, confirmation_prompt=new, err=True)
    return str(typed).encode()


def verify_container_image(text: str, *, key: Path | None, signed_as: str | None, access: Access, form: str) -> None:
    """Check a container image's signature, then the digest of every part; print what was checked.

    Raises:
        EavesError: When the signature or a digest is wrong, or when the container image can't be read.
    """
    from eaves.oci.image_location import open_location
    from eaves.oci.reference import parse_reference
    from eaves.oci.sign.keys import load_public_key
    from eaves.oci.sign.signature import find_signature

    public = load_public_key(key) if key else None
    place = open_location(text, access)
    if place.reference is None and public is not None:
        raise OciError(
            f"{text} is a layout on disk, which has no signatures",
            hint="verify it without --key, or verify the container image at a registry with --key",
        )
    if place.reference is not None and public is None:
        raise OciError(
            f"{place.reference} is at a registry, so verifying its origin needs a public key",
            hint="eaves verify IMAGE --key PUBLIC_KEY",
        )
    descriptor = place.resolve()  # once: a tag may move, its digest may not
    signed = None
    if public is not None and place.reference is not None:
        repository = parse_reference(signed_as) if signed_as else place.reference
        signed = find_signature(place.store, descriptor, public, repository)
    checked = _check_visibly(place, descriptor)
    name = str(place.reference.pinned(descriptor.digest)) if place.reference else f"{text}@{descriptor.digest}"
    _print(name, descriptor, checked, signed, public.id if public else None, form)


def _check_visibly(place: ImageLocation, descriptor: Descriptor) -> Checked:
    from eaves.oci.sign.integrity import check_content

    with ExitStack() as stack:

        def show(layers: Sequence[Descriptor]) -> Callable[[int], Any]:
            bar: Any = stack.enter_context(progress("reading layers", sum(layer.size for layer in layers)))
            return bar.update  # type: ignore[no-any-return]

        return check_content(place.store, descriptor, show)


def _print(
    name: str, descriptor: Descriptor, checked: Checked, signed: Signed | None, key: str | None, form: str
) -> None:
    said = checked.images[0].labels
    labels = {str(name): str(value) for name, value in said.items()} if isinstance(said, Mapping) else {}
    platforms = [str(image.platform) for image in checked.images]
    verdict = {
        "name": name,
        "digest": descriptor.digest,
        "key": key,
        "signed_as": signed.repository if signed else None,
        "annotations": dict(signed.annotations) if signed else {},
        "artifact": labels.get("dev.eaves.artifact"),
        "platforms": platforms,
        "layers": len(checked.layers),
        "layer_bytes": checked.size,
        "labels": labels,
    }
    if form != "table":
        print_value(verdict, form)
    else:
        click.echo(name)
        for label, value in labels.items():
            say(escape(f"  {label}: {value}", keep=""))
    by = f"signed by {key}" if key else "no signature was checked, only the digests of its content"
    say(f"verified: {', '.join(platforms)}; {len(checked.layers)} layers, {checked.size} bytes; {by}")
