"""Writes docs/reference.md from the code: `python docs/reference.py > docs/reference.md`. A test keeps it fresh."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import MISSING

import click

from converters.declaration import Declaration, TensorDeclaration
from eaves import errors
from eaves.cli import COMMANDS
from eaves.cli.project import Project
from eaves.config import iter_leaves
from eaves.delivery.mqtt.settings import MqttSettings as PublishingSettings
from eaves.local.settings import LocalSettings
from eaves.options import parameter_name
from eaves.platform import DeliverySettings, SourceSpec, TriggerSpec
from eaves.publisher.settings import PublisherSettings
from eaves.receiver.settings import ReceiverSettings
from eaves.relay.settings import RelaySettings
from eaves.sources.folder.settings import FolderSettings
from eaves.sources.http.settings import HttpSettings
from eaves.sources.mqtt.settings import MqttSettings
from eaves.sources.options import FrameOptions
from eaves.sources.replay.settings import ReplaySettings
from eaves.sources.settings import AgentSettings, SourceSettings
from functions.settings import FunctionSettings
from knative.settings import SiteSettings


def build_reference() -> str:
    """The whole page."""
    parts = [_HEAD, "## Commands\n", *_commands(), "## eaves.yaml\n", _PRECEDENCE, *_settings(Project)]
    parts += ["### Each of `triggers`\n", *_settings(TriggerSpec, env=False)]
    parts += ["### `delivery` of a trigger\n", *_settings(DeliverySettings, env=False)]
    parts += ["### `mqtt` of a trigger\n", *_settings(PublishingSettings, env=False)]
    parts += ["### Each of `sources`\n", *_settings(SourceSpec, env=False)]
    parts += ["### Each of `sites`\n", *_settings(SiteSettings, env=False)]
    parts += ["## The local platform (`eaves up`)\n", *_settings(LocalSettings, section="up.")]
    parts += ["## A function's process (`python -P -m functions`)\n", *_settings(FunctionSettings)]
    parts += ["## An agent's process (`python -P -m eaves.sources`)\n", *_settings(AgentSettings)]
    parts += ["### Each of its sources (EAVES_SOURCES)\n", *_settings(SourceSettings, env=False)]
    parts += ["### ... to pick and edit its images\n", *_settings(FrameOptions, env=False)]
    parts += ["### ... of kind `folder`\n", *_settings(FolderSettings, env=False)]
    parts += ["### ... of kind `http`\n", *_settings(HttpSettings, env=False)]
    parts += ["### ... of kind `replay`\n", *_settings(ReplaySettings, env=False)]
    parts += ["### ... of kind `mqtt`\n", *_settings(MqttSettings, env=False)]
    parts += ["## A publisher's process (`python -P -m eaves.publisher`)\n", *_settings(PublisherSettings)]
    parts += ["## A relay's process (`python -P -m eaves.relay`)\n", *_settings(RelaySettings)]
    parts += ["## A receiver's process (`python -P -m eaves.receiver`)\n", *_settings(ReceiverSettings)]
    parts += ["## A declaration (`model.yaml`)\n", *_settings(Declaration, env=False)]
    parts += ["### ... with `task: tensor`\n", *_settings(TensorDeclaration, env=False)]
    parts += ["## Errors and exit codes\n", *_errors()]
    return "\n".join(parts) + "\n"


_HEAD = "# Reference\n\nWritten by `python docs/reference.py` from the code; edit the code.\n"
_PRECEDENCE = "A flag wins over the environment, the environment over the file, the file over the default.\n"


def _commands() -> Iterator[str]:
    for name, text in COMMANDS.items():
        command: click.Command = importlib.import_module(f"eaves.cli.{name}").command
        yield f"### `eaves {name}`\n\n{text}\n"
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                yield f"#### `eaves {name} {inner.name}`\n\n{_first_line(inner)}\n"
                yield from _lines([p for p in inner.params if isinstance(p, click.Option)])
                yield ""
            continue
        leaves = [*iter_leaves(Project), *iter_leaves(LocalSettings, "up.")]
        settings = {
            parameter_name(leaf.path.removeprefix(f"{name}.")) for leaf in leaves if leaf.path.startswith(f"{name}.")
        }
        own = [p for p in command.params if isinstance(p, click.Option) and p.name not in settings | {"help"}]
        yield from _lines(own)
        if len(own) < len([p for p in command.params if isinstance(p, click.Option)]):
            yield f"- and the settings of its section below, as flags (`eaves {name} --help`)"
        yield ""


def _lines(options: list[click.Option]) -> Iterator[str]:
    for option in options:
        yield f"- `{', '.join(option.opts)}`: {option.help}"


def _first_line(command: click.Command) -> str:
    return (command.help or "").strip().splitlines()[0]


def _settings(cls: type, *, env: bool = True, section: str = "") -> Iterator[str]:
    yield f"| setting | {'environment | ' if env else ''}default | what it is |"
    yield f"|---|{'---|' if env else ''}---|---|"
    for leaf in iter_leaves(cls, section):
        given = "" if leaf.default in ((), None) else str(leaf.default)
        default = "required" if leaf.default is MISSING else f"`{given}`" if given else ""
        choices = f" One of {', '.join(f'`{choice}`' for choice in leaf.choices)}." if leaf.choices else ""
        variable = f"`{leaf.env}` | " if env else ""
        yield f"| `{leaf.path.removeprefix(section)}` | {variable}{default} | {leaf.doc}{choices} |"
    yield ""


def _errors() -> Iterator[str]:
    yield "| error | exit code | HTTP status | meaning |"
    yield "|---|---|---|---|"
    found = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.EavesError)
    ]
    for error in found:
        meaning = (error.__doc__ or "").strip().splitlines()[0]
        yield f"| `{error.__name__}` | {error.exit_code} | {error.http_status} | {meaning} |"


if __name__ == "__main__":
    click.echo(build_reference(), nl=False)
