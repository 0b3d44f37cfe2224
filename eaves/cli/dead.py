"""`eaves dead`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from eaves.cli.arguments import state_option
from eaves.cli.output import output_option, print_rows, say
from eaves.errors import NotFoundError

COLUMNS = {
    "number": "NUMBER",
    "time": "GIVEN UP",
    "queue": "QUEUE",
    "subject": "SUBJECT",
    "status": "STATUS",
    "reason": "REASON",
    "event": "EVENT",
}
EVERY = 1_000_000


@click.command()
@click.option("--retry", "retried", multiple=True, help="Deliver it again: a number, or `all`.")
@click.option("--drop", "dropped", multiple=True, help="Delete it for good: a number, or `all`.")
@click.option("--source", help="Those of a source's agent, FUNCTION.SOURCE, instead of the broker's.")
@output_option
@state_option
def command(retried: tuple[str, ...], dropped: tuple[str, ...], source: str | None, form: str, state_dir: Path) -> None:
    """Show the events that were given up on; deliver them again or delete them."""
    from eaves.local.state import State
    from eaves.spool import DeadLetter, Selection, Spool
    from eaves.spool.admin import drop, redrive

    state = State(root=state_dir)
    path = state.source_spool(source) if source else state.spool
    if not path.is_file():
        raise NotFoundError(f"there is no queue {path}", hint="eaves status")

    def row(letter: DeadLetter) -> dict[str, object]:
        event = letter.entry.event
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(letter.died_at))
        about = {"subject": event.subject, "status": letter.status, "reason": letter.reason, "event": event.id}
        return {"number": letter.entry.seq, "time": moment, "queue": letter.entry.lane, "type": event.type, **about}

    with Spool(path) as spool:
        letters = spool.dead(limit=EVERY)
        for chosen, act, done in ((retried, redrive, "queued again"), (dropped, drop, "deleted")):
            numbers = (
                [letter.entry.seq for letter in letters] if "all" in chosen else [_number(text) for text in chosen]
            )
            count = act(spool, Selection(seqs=tuple(numbers), state="dead"))
            if chosen:
                say(f"{count} {done}")
        if not retried and not dropped:
            print_rows([row(letter) for letter in letters], COLUMNS, form)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is neither a number nor `all`")
    return int(text)
