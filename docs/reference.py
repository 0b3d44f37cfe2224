"""Writes docs/reference.md from the code: `python docs/reference.py > docs/reference.md`.

A test checks that the page is up to date.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import MISSING

import click

from converters.declaration import Declaration, TensorDeclaration
from converters.settings import ConvertSettings
from eaves import errors
from eaves.cli import COMMANDS, load_command
from eaves.cli.project import Project
from eaves.config import SettingsLeaf, is_scalar, iter_leaves
from eaves.link.settings import PublisherSettings, ReceiverSettings, RelaySettings
from eaves.local.settings import LocalSettings
from eaves.options import describe_range, parameter_name
from eaves.platform import DeliverySettings, MqttSection, SourceSpec, TriggerSpec
from eaves.sources.kind import iter_kinds
from eaves.sources.options import FrameOptions
from eaves.sources.settings import AgentSettings, ClaimCheckSettings, SourceSettings
from functions.settings import FunctionSettings
from knative.resources.standalone_servers import ConsoleDeployment, ReceiverDeployment, SiteConsoleSettings
from knative.settings import SiteSettings
from trainer.lifecycle import EXIT_CODES
from trainer.settings import DataSettings, TrainSettings


def build_reference() -> str:
    """Return the whole page docs/reference.md as Markdown."""
    parts = [_HEAD, "## Commands\n", *_commands(), "## eaves.yaml\n", _PRECEDENCE, *_settings(Project)]
    parts += ["### Each of `triggers`\n", *_settings(TriggerSpec, env=False)]
    parts += ["### `delivery` of a trigger\n", *_settings(DeliverySettings, env=False)]
    parts += ["### `mqtt` of a trigger\n", *_settings(MqttSection, env=False)]
    parts += ["### Each of `sources`\n", *_settings(SourceSpec, env=False)]
    parts += ["### Each of `sites`\n", *_settings(SiteSettings, env=False)]
    parts += ["## The local platform (`eaves up`)\n", *_settings(LocalSettings, section="up.")]
    parts += ["## A function's process (`python -P -m functions`)\n", *_settings(FunctionSettings)]
    parts += ["## An agent's process (`python -P -m eaves.sources`)\n", *_settings(AgentSettings)]
    parts += ["### Each of its sources (EAVES_SOURCES)\n", *_settings(SourceSettings, env=False)]
    parts += ["### ... to pick and edit its images\n", *_settings(FrameOptions, env=False)]
    parts += ["### ... to store large images in a bucket\n", *_settings(ClaimCheckSettings, env=False)]
    for name, kind in iter_kinds():
        parts += [f"### ... of kind `{name}`\n", *_settings(kind.settings, env=False)]
    parts += ["## A publisher's process (`python -P -m eaves.link.publisher`)\n", *_settings(PublisherSettings)]
    parts += ["## A relay's process (`python -P -m eaves.link.relay`)\n", *_settings(RelaySettings)]
    parts += ["## A receiver's process (`python -P -m eaves.link.receiver`)\n", *_settings(ReceiverSettings)]
    parts += ["## A console's process at a site (`python -P -m knative.console`)\n", *_settings(SiteConsoleSettings)]
    parts += ["## A declaration (`model.yaml`)\n", *_settings(Declaration, env=False)]
    parts += ["### ... with `task: tensor`\n", *_settings(TensorDeclaration, env=False)]
    parts += ["## Environment variables\n", _VARIABLES, *_variables()]
    parts += ["## Errors and exit codes\n", *_errors()]
    parts += ["\n## Exit codes of a training\n", *_training_exit_codes()]
    return "\n".join(parts) + "\n"


_HEAD = (
    "# Reference\n\nThis page is written by `python docs/reference.py` from the code. To change it, change the code.\n"
)
_VARIABLES = """\
All environment variables, by name. One that isn't in this table has no effect. A function, an agent, a relay, a
receiver, a publisher and a site's console name in one line of their log those that begin with `EAVES_` and that none
of their settings reads, such as a misspelt one. Commands name those that begin with the name of their section, such as
`EAVES_TRAIN_`.
"""
READERS: tuple[tuple[str, type, str], ...] = (
    ("the command line", Project, ""),
    ("`eaves up`", LocalSettings, "up."),
    ("`eaves receiver run`", ReceiverSettings, "receiver."),
    ("`eaves receiver render`", ReceiverDeployment, "receiver."),
    ("`eaves console render`", ConsoleDeployment, "console."),
    ("a console at a site", SiteConsoleSettings, ""),
    ("a function", FunctionSettings, ""),
    ("an agent", AgentSettings, ""),
    ("a publisher", PublisherSettings, ""),
    ("a relay", RelaySettings, ""),
    ("a receiver", ReceiverSettings, ""),
    ("`python -m trainer`", DataSettings, "data."),
    ("`python -m trainer`", TrainSettings, "train."),
    ("`python -m converters`", ConvertSettings, "convert."),
)
"""Processes and commands that read settings from environment variables: name of each, its settings class, and the
prefix of the settings' dotted paths."""
MODULES = ("trainer.__main__", "converters.__main__")
"""Modules whose command line has options with environment variables that belong to no settings class. The commands of
`eaves` are read in addition."""
_PRECEDENCE = (
    "A flag takes precedence over the environment, the environment over the file, and the file over the default.\n"
)


def _commands() -> Iterator[str]:
    for name, text in COMMANDS.items():
        command = load_command(name)
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
        variable = (f"`{leaf.env}` | " if is_scalar(leaf.type) else " | ") if env else ""
        limits = f" Range: {text}." if (text := describe_range(leaf)) else ""
        yield f"| `{leaf.path.removeprefix(section)}` | {variable}{default} | {leaf.doc}{choices}{limits} |"
    yield ""


def list_variables() -> dict[str, list[tuple[str, str]]]:
    """Return each environment variable's name, with pairs of the process that reads it and the setting that it sets."""
    found: dict[str, list[tuple[str, str]]] = {}
    for reader, leaf in _leaves():
        if is_scalar(leaf.type):
            found.setdefault(leaf.env, []).append((reader, f"`{leaf.path}`"))
    for reader, option in _options():
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
        for name in names:
            # An option that several commands of one group have is listed once.
            if (reader, f"`{option.opts[0]}`") not in found.setdefault(name, []):
                found[name].append((reader, f"`{option.opts[0]}`"))
    return dict(sorted(found.items()))


def _leaves() -> Iterator[tuple[str, SettingsLeaf]]:
    """Yield each setting that can come from an environment variable, after the name of the process that reads it."""
    for reader, cls, section in READERS:
        for leaf in iter_leaves(cls, section):
            yield reader, leaf


def _options() -> Iterator[tuple[str, click.Option]]:
    """Yield each option of every command line, after the name of its command."""
    commands = {f"`eaves {name}`": load_command(name) for name in COMMANDS}
    commands |= {f"`python -m {name.partition('.')[0]}`": importlib.import_module(name).main for name in MODULES}
    for name, command in commands.items():
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for one in inner:
            yield from ((name, option) for option in one.params if isinstance(option, click.Option))


def _variables() -> Iterator[str]:
    yield "| variable | read by | sets |"
    yield "|---|---|---|"
    for name, uses in list_variables().items():
        by_meaning: dict[str, list[str]] = {}
        for reader, meaning in uses:
            readers = by_meaning.setdefault(meaning, [])
            readers += [] if reader in readers else [reader]
        for meaning, readers in by_meaning.items():
            yield f"| `{name}` | {', '.join(readers)} | {meaning} |"
    yield ""


def _training_exit_codes() -> Iterator[str]:
    yield "| exit code | meaning | in the Job's `podFailurePolicy` |"
    yield "|---|---|---|"
    yield from (f"| {one.code} | {one.meaning} | {one.action} |" for one in EXIT_CODES)


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
