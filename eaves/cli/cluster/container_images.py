"""Which container image a command on clusters is for: named, kept from the last deploy, or in eaves.yaml."""

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
    """`--key`, `--offline` and how registries are reached; `choose_image` takes what they say."""
    key = click.option(
        "--key",
        type=click.Path(path_type=Path),
        help="Public key file; the container image must have a signature that it verifies.",
    )
    offline = click.option(
        "--offline", is_flag=True, help="Connect to no registry; the container image is named by digest and trusted."
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
    """The container image that is to be deployed, by digest.

    Args:
        workspace: With eaves.yaml.
        named: On the command line; empty: eaves.yaml's `knative.image`, else what was deployed last.
        key: Who must have signed it.
        offline: Ask no registry.
        plain_http: Reach registries without TLS.
        registry_ca: Of registries.

    Raises:
        ConfigError: When none is named anywhere.
        OciError: When it isn't there, or isn't what it must be.
    """
    text = named or workspace.project.knative.image
    note = None if text else load_note(workspace)
    if note is not None:
        return note.image
    if not text:
        fault = Fault(origin=workspace.origin, path="knative.image", message="no container image is named")
        raise ConfigError([fault], hint="eaves package ARTIFACT -t REPOSITORY:TAG --base python:3.13-slim prints one")
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
    """The container image that `reconcile` may bring, by digest; None when none is named anywhere.

    That is the one that was deployed last from here, unless eaves.yaml names another than it did then: the registry is
    asked for that once.

    Args:
        workspace: With eaves.yaml.
        named: On the command line.
        key: Who must have signed it.
        offline: Ask no registry.
        plain_http: Reach registries without TLS.
        registry_ca: Of registries.

    Raises:
        OciError: When it isn't there, or isn't what it must be.
        StorageError: When what was deployed last can't be read or noted.
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
            raise click.UsageError("--key needs the registry, where signatures are.")
        return trust_image(text)
    from eaves.oci.sign.keys import load_public_key

    access = build_access(plain_http=plain_http, registry_ca=registry_ca)
    return resolve_image(text, access, key=load_public_key(key) if key else None)
