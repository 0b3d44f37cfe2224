"""Selection of events by their type, for the option `--type`."""

from __future__ import annotations

from eaves.events import TYPE_PREFIX


def matches_type(type_: str, wanted: str) -> bool:
    """Return whether an event type is wanted.

    Args:
        type_: Full type of an event, `dev.eaves.image.classified.v1`.
        wanted: Full type or the beginning of one, with or without the prefix `dev.eaves.`; empty takes every type.
    """
    return type_.startswith(wanted) or type_.removeprefix(TYPE_PREFIX).startswith(wanted)
