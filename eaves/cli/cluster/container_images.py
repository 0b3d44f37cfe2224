"""Selection of the container image that a command deploys to clusters.

The image is named on the command line or in eaves.yaml, or it is the one that was deployed last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.cluster.deploy_notes import load_note, note_image
from eaves.cli.registry_options import access_options, build_access
from eaves.errors import ConfigError, Fault

if TYPE_CHECKING:
    from eaves.cli.app.project import Workspace
    from knative.deploy.function_image import FunctionImage

Command = TypeVar("Command", bound=Callable[..., Any])


def image_options(command: Command) -> Command:
    """Add `--key`, `--offline` and the options for registries to a command; `choose_image` takes their values."""
    key = click.option(
        "--key",
        type=click.Path(path_type=Path),
        help="Public key file; the container image must have a signature that it verifies.",
    )
    offline = click.option(
        "--offline",
        is_flag=True,
        help="Connect to no registry; the container image must be named by digest, and is not checked.",
    )
    return key(offline(access_options(command)))


def choose_image(
    workspace: Workspace,
    named: str,
    *,
    key: Path | None,
    offline: bool,
    plain_http: bool,
    registry_ca: Path | None,
) -> FunctionImage:
    """Return the container image that a command deploys, by digest.

    Args:
        workspace: The project.
        named: Name on the command line; empty selects `knative.image` of eaves.yaml, else the image deployed last.
        key: Public key file that must verify the image's signature; None requires no signature.
        offline: Whether to connect to no registry.
        plain_http: Whether to connect to registries without TLS.
        registry_ca: PEM file of certificate authorities that are trusted for registries.

    Raises:
        ConfigError: When no container image is named anywhere.
        OciError: When the container image isn't at the registry, isn't signed as required, or isn't a function's.
    """
    text = named or workspace.project.knative.image
    note = None if text else load_note(workspace)
    if note is not None:
        return note.image
    if not text:
        fault = Fault(origin=workspace.origin, path="knative.image", message="no container image is named")
        hint = "name the container image that eaves package ARTIFACT -t REPOSITORY:TAG --base python:3.13-slim prints"
        raise ConfigError([fault], hint=hint)
    return _ask_registry(text, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca)


def choose_kept_image(
    workspace: Workspace,
    named: str,
    *,
    key: Path | None,
    offline: bool,
    plain_http: bool,
    registry_ca: Path | None,
) -> FunctionImage | None:
    """Return the container image that `reconcile` may deploy, by digest; None when none is named anywhere.

    It is the image that was deployed last from this workspace, unless eaves.yaml names another one than at that time.
    The registry is asked once for the new name.

    Args:
        workspace: The project.
        named: Name on the command line; empty when none is given.
        key: Public key file that must verify the image's signature; None requires no signature.
        offline: Whether to connect to no registry.
        plain_http: Whether to connect to registries without TLS.
        registry_ca: PEM file of certificate authorities that are trusted for registries.

    Raises:
        OciError: When the container image isn't at the registry, isn't signed as required, or isn't a function's.
        StorageError: When the workspace's note of its last deploy can't be read or written.
    """
    text, note = workspace.project.knative.image, load_note(workspace)
    if not named and note is not None and (not text or note.declared == text):
        return note.image
    if not named and not text:
        return None
    image = _ask_registry(named or text, key=key, offline=offline, plain_http=plain_http, registry_ca=registry_ca)
    if not named:
        note_image(workspace, image)
    return image


def _ask_registry(
    text: str, *, key: Path | None, offline: bool, plain_http: bool, registry_ca: Path | None
) -> FunctionImage:
    from knative.deploy.function_image import resolve_image, trust_image

    if offline:
        if key is not None:
            raise click.UsageError("--key and --offline exclude each other: signatures are read from the registry.")
        return trust_image(text)
    from eaves.oci.signatures import load_public_key

    access = build_access(plain_http=plain_http, registry_ca=registry_ca)
    return resolve_image(text, access, key=load_public_key(key) if key else None)
