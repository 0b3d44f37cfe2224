"""Options about registries: each has its environment variable, so that a person states it once for all commands."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from eaves.cli.registry_options import access_options


@click.command()
@access_options
def command(plain_http: bool, registry_ca: Path | None) -> None:
    """Print whether registries are reached without TLS."""
    click.echo(plain_http)


@pytest.mark.parametrize(("value", "plain"), [("yes", "True"), ("1", "True"), ("no", "False"), (None, "False")])
def test_a_registry_without_tls_may_be_named_by_a_variable(value: str | None, plain: str) -> None:
    done = CliRunner().invoke(command, env={"EAVES_PLAIN_HTTP": value}, catch_exceptions=False)
    assert done.stdout == f"{plain}\n"
