"""The `eaves` command: one module per command, which parses its options, calls a library, and prints the result.

    commands/        the commands; `GROUPS` has those of `eaves --help`, `MODULES` their modules
    deployment       deploys a container image to sites
    container_image  registries, the container image that is deployed, and the note of the last deploy
    link             the queues, relays and receivers that options select
    app              the app that eaves.yaml describes, for this machine, for each site and for a training
    site             options that choose this machine or sites, and work at many sites
    project          eaves.yaml; runs/latest and artifacts/latest
    collection       collection of training images, with its progress
    live             views until Ctrl-C, and the lines of events and logs
    output           tables, JSON and YAML on stdout; messages on stderr

Commands are imported when they are called, and heavy libraries within them, so that `eaves --help` loads only Python
and click. Results go to stdout, messages to stderr. An EavesError is printed as an `error:` and a `try:` line, and the
process ends with the error's exit code; so is an error of a file, such as a full disk, which no command handles.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

import click

from eaves import __version__

GROUPS = {
    "Make a model": {
        "init": "Write a short eaves.yaml for a new project.",
        "data": "Check labelled images before training.",
        "train": "Train a model on labelled images.",
        "convert": "Convert a run to an artifact and prove that outputs are equal.",
        "evaluate": "Measure the accuracy of a model on labelled images.",
        "compare": "Compare two models on the same labelled images.",
        "gate": "Check whether an artifact is good enough to be deployed.",
        "inspect": "Show the contents of a run or an artifact.",
        "verify": "Verify an artifact's outputs or a container image's signature.",
        "package": "Build a function's container image, without Docker.",
        "pipeline": "Run a pipeline: train, convert, package, push and publish.",
        "sign": "Sign a container image by the program cosign.",
        "federate": "Train one model at many sites, none of which sends its images.",
    },
    "Run functions": {
        "deploy": "Deploy a model as a function.",
        "up": "Run the local platform in the foreground.",
        "send": "Send images to a function and print its predictions.",
        "sources": "Try a source: connect, take one image, show what would be sent.",
        "remove": "Remove a function.",
        "receiver": "Receive the events of sites in the cloud.",
    },
    "Manage clusters": {
        "render": "Write the Kubernetes objects of a deployment as YAML.",
        "diff": "Show what a deploy would change at sites.",
        "rollout": "Show or set a new revision's share of the requests.",
        "promote": "Send every request to the newest revision.",
        "rollback": "Send every request to the previous revision.",
        "reconcile": "Continue the deployments and rollouts at sites by one step.",
        "doctor": "Find problems at sites and show how to fix each.",
    },
    "Look at what runs": {
        "status": "Show the state of functions, sources and queues.",
        "events": "Show the newest events.",
        "queue": "Show, retry and delete queued events and dead letters.",
        "relay": "Show the events that a relay took, and check their delivery.",
        "logs": "Show the log of a function or a source.",
        "console": "Serve a site's web page in its cluster.",
    },
}
"""Heading of `eaves --help` to its commands with their help lines, in the order in which a project uses them."""
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}
"""Name of each command to the line that describes it in `eaves --help`."""
MODULES = {
    name: module
    for module, names in {
        "deploy": ("deploy", "diff", "reconcile", "remove", "render"),
        "evaluate": ("compare", "data", "evaluate", "gate"),
        "events": ("events", "logs", "send"),
        "inspect": ("inspect", "verify"),
        "package": ("package", "pipeline", "sign"),
        "receiver": ("console", "receiver"),
        "rollout": ("promote", "rollback", "rollout"),
        "status": ("doctor", "status"),
        "train": ("convert", "train"),
    }.items()
    for name in names
}
"""Name of a command to the module of `eaves.cli.commands` that defines it under this name; each other command is the
function `command` of a module of its name."""
_WHOLE = 1_000
"""Maximum number of characters that a group's list shows of a command's first sentence. It is large enough for every
sentence, because click would otherwise cut sentences at the width of the list."""


def load_command(name: str) -> click.Command:
    """Import a command by its name, a key of `COMMANDS`."""
    module = importlib.import_module(f"eaves.cli.commands.{MODULES.get(name, name)}")
    command: click.Command = getattr(module, name if name in MODULES else "command")
    return command


class CommandGroup(click.Group):
    """A group of commands whose list isn't shortened."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the order in which they were added."""
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


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
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


_EPILOG = """Shell completion, for bash: put eval "$(_EAVES_COMPLETE=bash_source eaves)" into ~/.bashrc. For zsh it is
zsh_source in ~/.zshrc; for fish, _EAVES_COMPLETE=fish_source eaves | source in its config."""


@click.group(
    cls=Commands,
    commands=dict.fromkeys(COMMANDS),  # their names are suggested for a mistyped one
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
    epilog=_EPILOG,
)
@click.version_option(__version__, "-V", "--version", prog_name="eaves")
def cli() -> None:
    """Train image models in the cloud and run them at the edge.

    On one machine, the commands init, train, convert, deploy, up and send lead from labelled photos to predictions.
    """


def main() -> None:
    """Run the `eaves` command. Under the name `kn-eaves` it is the plugin that Knative's `kn eaves ...` starts."""
    from eaves.errors import EavesError

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that cleaning up happens as on Ctrl-C
    try:
        cli(prog_name="kn eaves" if Path(sys.argv[0]).name == "kn-eaves" else "eaves")
    except EavesError as error:
        from eaves.options import print_error

        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        from eaves.base.disk_errors import FULL, READ_ONLY, build_disk_error
        from eaves.options import print_error

        if error.filename is None and error.errno not in FULL | READ_ONLY:
            raise  # not of a file
        reported = build_disk_error(error, Path())
        print_error(reported)
        sys.exit(reported.exit_code)
