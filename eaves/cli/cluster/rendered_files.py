"""Rendered Kubernetes objects of what belongs to no app, as YAML or as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from eaves.cli.display.output import say


def print_manifests(manifests: Sequence[dict[str, Any]], output: Path | None, advice: Sequence[str]) -> None:
    """Print objects as YAML, or write them to files and print their paths; say what to do next.

    Args:
        manifests: The objects, in the order of applying.
        output: Folder for the files; None prints YAML.
        advice: Lines for the person, such as the commands that create Secrets.
    """
    from knative.resources.rendering import to_yaml, write_files

    if output is None:
        click.echo("---\n".join(to_yaml(one) for one in manifests), nl=False)
    else:
        command = click.get_current_context().command_path
        head = f"# Written by `{command}` for `kubectl apply -f`. To change it, run this command with other options.\n"
        for path in write_files(manifests, output, head=head):
            click.echo(path)
        say(f"to apply the files: kubectl apply -f {output}")
    for line in advice:
        say(line)
