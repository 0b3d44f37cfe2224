"""The command `eaves settings`, which lists the settings of eaves.yaml."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

import click

from eaves.cli.output import print_sentence
from eaves.config import SettingsLeaf, is_scalar, iter_leaves
from eaves.errors import NotFoundError
from eaves.options import describe_default, describe_range, name_type


@click.command()
@click.argument("section", metavar="[SECTION]", default="")
def command(section: str) -> None:
    """Show the settings of eaves.yaml, each with its meaning, type, range, default and environment variable.

    With SECTION, only those whose names begin with it: train, train.epochs, sources, sources.camera, triggers. No
    eaves.yaml is needed.
    """
    is_known = False
    for leaf, variable in _list_settings():
        if f"{leaf.path}.".startswith(f"{section}." if section else ""):
            is_known = True
            facts = [
                name_type(leaf).replace("|", " | "),
                describe_range(leaf),
                f"default: {describe_default(leaf.default)}",
                variable,
            ]
            print_sentence(f"{leaf.path}: {leaf.doc} [{'; '.join(filter(None, facts))}]")
    if not is_known:
        raise NotFoundError(f"eaves.yaml has no section or setting {section!r}", hint="eaves settings | less")


def _list_settings() -> Iterator[tuple[SettingsLeaf, str]]:
    """Yield each setting of eaves.yaml and of its lists with its variable, which settings in lists don't have."""
    from eaves.cli.project import Project
    from eaves.sources.kind import iter_kinds
    from eaves.sources.options import FrameOptions
    from eaves.sources.settings import ClaimCheckSettings

    lists = {f"sources.{name}.": kind.settings for name, kind in iter_kinds()}
    lists |= {"sources.options.": FrameOptions, "sources.claim_check.": ClaimCheckSettings}
    hints = typing.get_type_hints(Project)
    for leaf in iter_leaves(Project):
        item = (typing.get_args(hints.get(leaf.path)) or (None,))[0]
        if dataclasses.is_dataclass(item):
            lists[f"{leaf.path}."] = typing.cast("type", item)
        else:
            yield leaf, leaf.env if is_scalar(leaf.type) else ""
    for prefix, cls in lists.items():
        yield from ((leaf, "") for leaf in iter_leaves(cls, prefix))
