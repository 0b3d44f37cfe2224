"""Click groups of commands whose list of commands isn't shortened and whose errors suggest similar names."""

from __future__ import annotations

from collections.abc import Sequence

import click

_WHOLE = 1_000
"""Maximum number of characters that a group's list shows of a command's first sentence. It is large enough for every
sentence, because click would otherwise cut sentences at the width of the list."""


class CommandGroup(click.Group):
    """A group of commands, for use as `@click.group(cls=CommandGroup)`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name.

        Raises:
            UsageError: When no command has the name; the message suggests commands with similar names.
        """
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}.{_suggest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the order in which they were added."""
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _suggest(name: str, known: Sequence[str]) -> str:
    import difflib  # only for a mistake

    near = difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
