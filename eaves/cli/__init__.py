"""The `eaves` command: one module per command; each parses, calls one library function and prints.

    commands/              the commands, named as they are typed, in the groups of `eaves --help`
    app/                   eaves.yaml, read and written, and the specs that it makes
    cluster/               what commands on clusters share
    link/                  what commands about queues, relays and receivers share
    shared_options         options of several commands;  registry_options, signatures: of those about container images
    labelled_data          the labelled images that a command is given
    image_collection       images from a source, for `eaves init`;  collection_progress: what is said meanwhile
    output                 results as a table, JSON or YAML on stdout, messages on stderr
    table                  tables that fit the terminal;  cell_text: times, sizes, ids and reasons as people read them
    artifact_view          an artifact for people;  event_view: what an event predicts
    golden_replay          an artifact's golden images replayed, with a progress bar
    stop_signals           Ctrl-C and SIGTERM: an error with a sentence, or the end of a command in the foreground

Commands are imported when they are called, and heavy libraries within them, so that `eaves --help` costs what Python
and click cost. Data goes to stdout, talk to stderr; an EavesError becomes `error:` and `try:` lines and its exit
code.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from eaves import __version__

GROUPS = {
    "model": (
        "Make a model",
        {
            "init": "Write a commented eaves.yaml.",
            "data": "Look at labelled images before they are trained on.",
            "train": "Train a model on labelled images: images > run.",
            "convert": "Convert a run and prove it equal: run > artifact.",
            "evaluate": "Measure how good models are on labelled images.",
            "compare": "Show how two runs differ.",
            "inspect": "Show what a run or an artifact is.",
            "verify": "Prove an artifact, or that a container image is signed.",
            "package": "Build a function's container image, without a daemon.",
            "pipeline": "Train, convert, package, push and tell: what a pipeline Job runs.",
            "sign": "Sign a container image, or make the key for it.",
        },
    ),
    "run": (
        "Run functions",
        {
            "deploy": "Want a function, here or at sites.",
            "up": "Run the local platform, in the foreground.",
            "send": "Send images to a function and print its predictions.",
            "remove": "Stop wanting a function.",
            "receiver": "Receive the events of sites: the cloud's side of the link.",
        },
    ),
    "cluster": (
        "Manage clusters",
        {
            "render": "Write what a deploy applies to a cluster, as YAML.",
            "diff": "Show what differs: of two container images, or of a cluster.",
            "rollout": "Show or set the share of a new revision.",
            "promote": "Give the newest revision every request.",
            "rollback": "Serve again what was served before.",
            "reconcile": "Take sites one step towards what is wanted.",
            "doctor": "Look for what stands in the way at sites, and say what mends it.",
        },
    ),
    "look": (
        "Look at what runs",
        {
            "status": "Show the functions and how they are.",
            "events": "Show the events that flowed.",
            "queue": "Show, retry and delete what waits and what was given up on.",
            "relay": "Show what a relay took, and check that all of it was received.",
            "logs": "Show what a function or a source wrote.",
        },
    ),
}
"""The folders of `eaves.cli.commands`: the heading of each in the help and its commands, in the order of the flow."""
COMMANDS = {name: text for _, commands in GROUPS.values() for name, text in commands.items()}
"""Every command and its line in the help."""


def load_command(name: str) -> click.Command:
    """Import the module of a command.

    Args:
        name: A key of `COMMANDS`.
    """
    group = next(group for group, (_, commands) in GROUPS.items() if name in commands)
    command: click.Command = importlib.import_module(f"eaves.cli.commands.{group}.{name}").command
    return command


class Commands(click.Group):
    """The commands of `COMMANDS`, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one."""
        return load_command(name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help's list of commands, a section for each group, without importing any."""
        width = max(map(len, COMMANDS))
        for heading, commands in GROUPS.values():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None})
@click.version_option(__version__, "-V", "--version", prog_name="eaves")
def cli() -> None:
    """Image models trained in the cloud, predicting at the edge.

    init, train, convert, deploy, up, send: that is the whole flow, on this machine.
    """
    from eaves.base.terminal import escape
    from eaves.config.environment import find_variable_warnings

    for text in find_variable_warnings(os.environ):
        click.echo(f"warning: {escape(text)}", err=True)


def main() -> None:
    """The console script; `kn eaves ...` starts it as `kn-eaves`, Knative's name for a plugin."""
    from eaves.errors import EavesError
    from eaves.options import print_error

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that cleaning up happens as on Ctrl-C
    try:
        cli(prog_name="kn eaves" if Path(sys.argv[0]).name == "kn-eaves" else "eaves")
    except EavesError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our stdout has gone (`eaves events | head`)
        sys.exit(0)
