"""The `eaves` command: one module per command, which parses its options and calls one library function.

    commands/              the commands, named as they are typed, in the groups of `eaves --help`
    app/                   reads and writes eaves.yaml, and builds the specs of the app in it
    cluster/               code that commands on clusters share
    link/                  code that commands about queues, relays and receivers share
    live/                  views that print what happens until Ctrl-C
    source_trial           `eaves sources try`: the source, its trial, the file, and what is shown
    display/               tables, JSON and YAML on stdout; messages on stderr; views of artifacts and events
    command_group          groups of commands with suggestions for mistyped names
    shared_options         options that several commands have
    registry_options       options of commands that connect to registries
    signatures             verification of container images, and passwords of keys
    latest                 runs/latest and artifacts/latest, the newest run and the newest artifact
    labelled_data          finds the labelled images that a command is given
    evaluation             measures models on them, for `eaves evaluate` and `eaves compare`
    image_collection       collects images from a source, for `eaves init`
    golden_replay          replays an artifact's golden images, with a progress bar
    stop_signals           Ctrl-C and SIGTERM: each stops a command, or becomes an error with a message

Commands are imported when they are called, and heavy libraries within them, so that `eaves --help` loads only Python
and click. Results go to stdout, messages to stderr. An EavesError is printed as an `error:` and a `try:` line, and the
process ends with the error's exit code; so is an error of a file, such as a full disk, which no command handles.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from eaves import __version__
from eaves.cli.command_group import CommandGroup

GROUPS = {
    "model": (
        "Make a model",
        {
            "init": "Write a short eaves.yaml for a new project.",
            "settings": "Explain the settings of eaves.yaml.",
            "data": "Check labelled images before training.",
            "train": "Train a model on labelled images.",
            "convert": "Convert a run to an artifact and prove that outputs are equal.",
            "evaluate": "Measure the accuracy of a model on labelled images.",
            "compare": "Compare two models on the same labelled images.",
            "inspect": "Show the contents of a run, an artifact or a container image.",
            "verify": "Verify an artifact's outputs or a container image's signature.",
            "package": "Build a function's container image, without Docker.",
            "pipeline": "Run a pipeline: train, convert, package, push and publish.",
            "sign": "Sign a container image, or create a signing key.",
        },
    ),
    "run": (
        "Run functions",
        {
            "deploy": "Deploy a model as a function.",
            "up": "Run the local platform in the foreground.",
            "send": "Send images to a function and print its predictions.",
            "sources": "Try a source: connect, take one image, show what would be sent.",
            "remove": "Remove a function.",
            "receiver": "Receive the events of sites in the cloud.",
        },
    ),
    "cluster": (
        "Manage clusters",
        {
            "render": "Write the Kubernetes objects of a deployment as YAML.",
            "diff": "Compare two container images, or a deployment with a cluster.",
            "rollout": "Show or set a new revision's share of the requests.",
            "promote": "Send every request to the newest revision.",
            "rollback": "Send every request to the previous revision.",
            "reconcile": "Continue the deployments and rollouts at sites by one step.",
            "doctor": "Find problems at sites and show how to fix each.",
        },
    ),
    "look": (
        "Look at what runs",
        {
            "status": "Show the state of functions, sources and queues.",
            "events": "Show the newest events.",
            "queue": "Show, retry and delete queued events and dead letters.",
            "relay": "Show the events that a relay took, and check their delivery.",
            "logs": "Show the log of a function or a source.",
            "console": "Serve a site's web page in its cluster.",
        },
    ),
}
"""Folder below `eaves.cli.commands` to the heading of its commands in `eaves --help`, and to its commands with their
help lines. The commands are in the order in which a project uses them."""
COMMANDS = {name: text for _, commands in GROUPS.values() for name, text in commands.items()}
"""Name of each command to the line that describes it in `eaves --help`."""


def load_command(name: str) -> click.Command:
    """Import the module of a command.

    Args:
        name: A key of `COMMANDS`.
    """
    group = next(group for group, (_, commands) in GROUPS.items() if name in commands)
    command: click.Command = importlib.import_module(f"eaves.cli.commands.{group}.{name}").command
    return command


class Commands(CommandGroup):
    """The commands of `COMMANDS`, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that the arguments name.

        Raises:
            CancelledError: On Ctrl-C in a command that doesn't say itself what was stopped.
        """
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as error:
            from eaves.errors import CancelledError

            # click's questions raise Abort on Ctrl-C, as they do for the answer "no".
            if isinstance(error, click.Abort) and not isinstance(error.__context__, KeyboardInterrupt):
                raise
            name = " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))
            raise CancelledError(f"stopped by Ctrl-C: {name} has not finished") from None

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command and return it; None when no command has the name."""
        return load_command(name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help's list of commands, a section for each group, without importing any command."""
        width = max(map(len, COMMANDS))
        for heading, commands in GROUPS.values():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


_EPILOG = """Shell completion, for bash: put eval "$(_EAVES_COMPLETE=bash_source eaves)" into ~/.bashrc. For zsh it is
zsh_source in ~/.zshrc; for fish, _EAVES_COMPLETE=fish_source eaves | source in its config."""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    epilog=_EPILOG,
)
@click.version_option(__version__, "-V", "--version", prog_name="eaves")
def cli() -> None:
    """Train image models in the cloud and run them at the edge.

    On one machine, the commands init, train, convert, deploy, up and send lead from labelled photos to predictions.
    """
    from eaves.base.terminal import escape
    from eaves.config.environment import find_variable_warnings

    for text in find_variable_warnings(os.environ):
        click.echo(f"warning: {escape(text)}", err=True)


def main() -> None:
    """Run the `eaves` command. Under the name `kn-eaves` it is the plugin that Knative's `kn eaves ...` starts."""
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
    except OSError as error:
        from eaves.base.disk_errors import FULL, READ_ONLY, build_disk_error

        if error.filename is None and error.errno not in FULL | READ_ONLY:
            raise  # not of a file
        reported = build_disk_error(error, Path())
        print_error(reported)
        sys.exit(reported.exit_code)
