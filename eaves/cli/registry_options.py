"""Options with which commands connect to registries."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.display.output import say

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access

Command = TypeVar("Command", bound=Callable[..., Any])
PLAIN_HTTP = "EAVES_PLAIN_HTTP"
"""Environment variable that sets `--plain-http`, so that every command connects to a registry without TLS."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def access_options(command: Command) -> Command:
    """Add `--plain-http` and `--registry-ca` to a command; `build_access` takes their values."""
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
    return plain(authority(command))


def build_access(*, plain_http: bool, registry_ca: Path | None) -> Access:
    """Build the settings for connections to registries, from options and environment variables.

    The variables are DOCKER_CONFIG, for passwords, and those of HTTP proxies.

    Raises:
        ConfigError: When an environment variable of a proxy holds no address.
    """
    from eaves.http_client.proxies import parse_proxies
    from eaves.oci.registry.registry import Access

    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker")
    return Access(
        plain_http=plain_http,
        authorities=registry_ca,
        proxies=parse_proxies(os.environ),
        config=folder / "config.json",
        say=say,
    )


def cache_folder() -> Path:
    """Return the folder in which commands keep downloaded layers of container images.

    Source: XDG Base Directory Specification.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eaves" / "oci"


def default_platform() -> str:
    """Return this machine's platform as container images name it, `linux/amd64` for example."""
    machine = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"
