"""Which events a trigger wants."""

from __future__ import annotations

from collections.abc import Mapping

from eaves.events import Event


def matches(filter_: Mapping[str, str], event: Event) -> bool:
    """Whether every attribute named has exactly the value named; an empty value asks only for presence.

    Source: knative/docs, Trigger filters: `filter.attributes` is exact, with `""` matching any value.
    """
    attributes = event.attributes()
    return all(name in attributes and wanted in ("", attributes[name]) for name, wanted in filter_.items())
