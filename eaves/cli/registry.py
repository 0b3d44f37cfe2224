"""Options with which commands connect to registries and choose the container image that they deploy to clusters."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.deploy_notes import load_note
from eaves.cli.output import say
from eaves.cli.project import Workspace
from eaves.errors import ConfigError, Fault

if TYPE_CHECKING:
    from eaves.oci.registry.transport import Access
    from knative.inventory import FunctionImage

Command = TypeVar("Command", bound=Callable[..., Any])
PLAIN_HTTP = "EAVES_PLAIN_HTTP"
"""Environment variable that sets `--plain-http`, so that every command connects to a registry without TLS."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_AT_A_REGISTRY = re.compile(r"[^./][^/]*[.:][^/]*/.+|localhost/.+|.+@sha256:[0-9a-f]{64}|oci:.*")


def is_container_image(text: str) -> bool:
    """Return whether a name on the command line is that of a container image.

    The path of an existing file or folder is not; it names an artifact.
    """
    return bool(_AT_A_REGISTRY.fullmatch(text)) and not Path(text).exists()


def access_options(command: Command) -> Command:
    """Add `--plain-http` and `--registry-ca` to a command, which receives `access`; its call returns `Access`."""
    plain = click.option(
        "--plain-http",
        is_flag=True,
        envvar=PLAIN_HTTP,
        help="Connect to registries without TLS, except to Docker's own. Passwords are sent unprotected. "
        f"[{PLAIN_HTTP}]",
    )
    authority = click.option(
        "--registry-ca",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM file of certificate authorities that are trusted for registries, in addition to the system's.",
    )

    @functools.wraps(command)
    def gather(*args: Any, plain_http: bool, registry_ca: Path | None, **values: Any) -> Any:
        access = functools.partial(build_access, plain_http=plain_http, registry_ca=registry_ca)
        return command(*args, access=access, **values)

    return plain(authority(gather))  # type: ignore[return-value]


def image_options(command: Command) -> Command:
    """Add `--key`, `--offline` and the options for registries to a command, which receives them as `images`."""
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

    @functools.wraps(command)
    def gather(*args: Any, key: Path | None, offline: bool, access: Callable[[], Access], **values: Any) -> Any:
        return command(*args, images=ImageChoice(key=key, offline=offline, access=access), **values)

    return key(offline(access_options(gather)))  # type: ignore[return-value]


def build_access(*, plain_http: bool, registry_ca: Path | None = None) -> Access:
    """Build the settings for connections to registries, from options and environment variables.

    The variables are DOCKER_CONFIG, for passwords, and those of HTTP proxies.

    Raises:
        ConfigError: When an environment variable of a proxy holds no address.
    """
    from eaves.http_client.proxies import parse_proxies
    from eaves.oci.registry.transport import Access

    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker")
    return Access(
        plain_http=plain_http,
        authorities=registry_ca,
        proxies=parse_proxies(os.environ),
        config=folder / "config.json",
        say=say,
    )


def default_platform() -> str:
    """Return this machine's platform as container images name it, `linux/amd64` for example."""
    machine = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChoice:
    """Values of the options that choose the container image of a deployment.

    Attributes:
        key: Public key file that must verify the image's signature; None requires no signature.
        offline: Whether to connect to no registry.
        access: Builds the access to registries.
    """

    key: Path | None
    offline: bool
    access: Callable[[], Access]

    def choose(self, workspace: Workspace, named: str, *, kept: bool = False) -> FunctionImage | None:
        """Return the container image that a command deploys, by digest; None when none is named anywhere.

        It is the one named on the command line, else `knative.image` of eaves.yaml, else the one deployed last.

        Args:
            workspace: The project.
            named: Name on the command line; empty when none is given.
            kept: Whether the image deployed last is returned unless eaves.yaml names another one than at that time.

        Raises:
            OciError: When the container image isn't at the registry, isn't signed as required, or isn't a function's.
            StorageError: When the workspace's note of its last deploy can't be read.
        """
        declared = workspace.project.knative.image
        note = None if named or (declared and not kept) else load_note(workspace)
        if note is not None and declared in ("", note.declared):
            return note.image
        return self._ask_registry(named or declared) if named or declared else None

    def require(self, workspace: Workspace, named: str) -> FunctionImage:
        """Return the container image that a command deploys.

        Raises:
            ConfigError: When no container image is named anywhere.
            EavesError: The causes are those of `choose`.
        """
        if (image := self.choose(workspace, named)) is not None:
            return image
        fault = Fault(origin=workspace.origin, path="knative.image", message="no container image is named")
        hint = "name the container image that eaves package ARTIFACT -t REPOSITORY:TAG --base python:3.13-slim prints"
        raise ConfigError([fault], hint=hint)

    def _ask_registry(self, text: str) -> FunctionImage:
        from knative.deploy.function_image import resolve_image, trust_image

        if self.offline:
            if self.key is not None:
                raise click.UsageError("--key and --offline exclude each other: signatures are read from the registry.")
            return trust_image(text)
        from eaves.oci.signatures import load_public_key

        return resolve_image(text, self.access(), key=load_public_key(self.key) if self.key else None)
