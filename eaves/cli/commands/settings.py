"""The command `eaves settings`, which lists the settings of eaves.yaml and of `eaves up`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import click

from eaves.cli.output import output_option, print_sentence, print_value
from eaves.config import is_scalar, iter_leaves
from eaves.errors import NotFoundError
from eaves.options import describe_default, describe_range, name_type


@click.command()
@click.argument("section", metavar="[SECTION|SETTING]", default="")
@output_option
def command(section: str, form: str) -> None:
    """Show the settings in SECTION, each with its meaning, type, range, default and environment variable.

    Without SECTION, every section of eaves.yaml is listed; as JSON or YAML, every setting. SECTION may also be one
    setting, such as train.epochs. No eaves.yaml is needed.
    """
    sections = list(_list_sections())
    every = [row for name, _, cls in sections for row in _describe(name, cls)]
    if not section and form == "table":
        for name, doc, _ in sections:
            print_sentence(f"{name or 'name, site, through'}: {doc}")
        return
    found = [row for row in every if section in ("", row["section"], row["setting"])]
    if not found:
        raise NotFoundError(f"{section!r} is neither a section nor a setting of eaves.yaml", hint="eaves settings")
    if form != "table":
        print_value(found, form)
        return
    for row in found:
        facts = [row["type"], f"default: {row['default']}", row["variable"]]
        print_sentence(f"{row['setting']}: {row['doc']} [{'; '.join(filter(None, facts))}]")


def _list_sections() -> Iterator[tuple[str, str, type]]:
    """Yield name, description and dataclass of each section of eaves.yaml, of sources, and of `eaves up`."""
    from eaves.cli.project import Project
    from eaves.local.settings import LocalSettings
    from eaves.sources.claim_check import ClaimCheckSettings
    from eaves.sources.kind import OWN, load_kind
    from eaves.sources.options import FrameOptions

    hints = typing.get_type_hints(Project)
    yield "", "Names, and where images are predicted.", Project
    for field in dataclasses.fields(Project):
        item = (typing.get_args(hints[field.name]) or (hints[field.name],))[0]  # of a list of sections
        if dataclasses.is_dataclass(item):
            yield field.name, field.metadata["doc"], typing.cast("type", item)
    for kind in OWN:
        yield f"sources.{kind}", f"Settings of a source of kind {kind}.", load_kind(kind).settings
    yield "sources.options", "Settings of every source that select, crop and encode its images.", FrameOptions
    yield "sources.claim_check", "Settings of every source that store large images in a bucket.", ClaimCheckSettings
    yield "up", "Settings of `eaves up`; they are flags and variables, not in eaves.yaml.", LocalSettings


def _describe(section: str, cls: type) -> Iterator[dict[str, Any]]:
    """Yield a row for each setting of a section."""
    top = section.partition(".")[0]
    is_listed = top in ("triggers", "sources", "sites")
    for leaf in iter_leaves(cls, f"{top}." if top else ""):
        if section or (is_scalar(leaf.type) and "." not in leaf.path):
            yield {
                "section": section,
                "setting": leaf.path,
                "doc": leaf.doc,
                "type": " ".join(filter(None, (name_type(leaf).replace("|", " | "), describe_range(leaf)))),
                "default": describe_default(leaf.default),
                "variable": leaf.env if is_scalar(leaf.type) and not is_listed else "",
            }
