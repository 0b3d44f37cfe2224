"""Event filters as the CloudEvents Subscriptions API defines them and a Knative Trigger accepts them.

CESQL, which is optional in that API, is not supported. Source: CloudEvents Subscriptions API, subscriptions/spec.md,
section 3.2.4; Knative Eventing, Trigger `spec.filters`, pkg/eventfilter/subscriptionsapi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MATCHES, COMBINATIONS, NEGATION = ("exact", "prefix", "suffix"), ("all", "any"), "not"
DIALECTS = (*MATCHES, *COMBINATIONS, NEGATION)
MAX_DEPTH = 10
"""Maximum nesting of filters; deeper nesting is taken for a mistake."""

Filter = Mapping[str, Any]
Attributes = Mapping[str, str]


def matches_all(attributes: Attributes, exact: Attributes, filters: Sequence[Filter]) -> bool:
    """Return whether an event passes a trigger; as on Knative, `filters` replaces `filter` when it is not empty.

    Args:
        attributes: The event's attributes by name.
        exact: The trigger's `filter`: attribute to its value; an empty value only requires the attribute to be present.
        filters: The trigger's `filters`; every one must pass.
    """
    if filters:
        return all(_matches(attributes, one) for one in filters)
    return all(name in attributes and wanted in ("", attributes[name]) for name, wanted in exact.items())


def find_filter_faults(filters: Sequence[Any], path: str = "filters", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Return the path and message of every fault in filters."""
    for index, one in enumerate(filters):
        yield from _find_faults(one, f"{path}[{index}]", depth)


def find_exact_faults(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the path and message of every fault in a trigger's `filter`, whose values may be empty."""
    for name, value in values.items():
        if not _is_text(value):
            yield f"filter.{name}", f"must be a string (got {value!r:.80})"


def rewrite_matches(filters: Sequence[Filter], change: Callable[[str, str, str], Filter]) -> list[dict[str, Any]]:
    """Return the filters with each comparison replaced by the result of `change(dialect, attribute, value)`."""
    return [_rewrite(one, change) for one in filters]


def _matches(attributes: Attributes, one: Filter) -> bool:
    ((dialect, inner),) = one.items()
    if dialect == "all":
        return all(_matches(attributes, part) for part in inner)
    if dialect == "any":
        return any(_matches(attributes, part) for part in inner)
    if dialect == NEGATION:
        return not _matches(attributes, inner)
    return all(name in attributes and _compare(dialect, attributes[name], wanted) for name, wanted in inner.items())


def _compare(dialect: str, value: str, wanted: str) -> bool:
    if dialect == "prefix":
        return value.startswith(wanted)
    return value.endswith(wanted) if dialect == "suffix" else value == wanted


def _find_faults(one: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        yield path, f"must not be nested more than {MAX_DEPTH} deep"
        return
    if not isinstance(one, Mapping) or len(one) != 1 or (dialect := next(iter(one))) not in DIALECTS:
        found = ", ".join(map(str, one)) if isinstance(one, Mapping) else repr(one)
        yield path, f"must have exactly one of {', '.join(DIALECTS)} (got {found[:80] or 'nothing'})"
        return
    inner, below = one[dialect], f"{path}.{dialect}"
    if dialect == NEGATION:
        yield from _find_faults(inner, below, depth + 1)
    elif dialect in COMBINATIONS:
        if not isinstance(inner, list | tuple) or not inner:
            yield below, "must be a list with at least one filter"
            return
        yield from find_filter_faults(inner, below, depth + 1)
    elif not isinstance(inner, Mapping) or not inner:
        yield below, "must have at least one attribute with its value"
    else:
        for name, value in inner.items():
            if not (isinstance(name, str) and name.isascii() and name.isalnum() and name == name.lower()):
                yield below, f"the name of an attribute must be of a-z and 0-9 only (got {str(name)[:40]!r})"
            elif not _is_text(value) or not value:
                yield f"{below}.{name}", f"must be a string that is not empty (got {value!r:.80})"


def _is_text(value: Any) -> bool:
    """Return whether a value is text that an event attribute can have; text with a lone surrogate isn't."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _rewrite(one: Filter, change: Callable[[str, str, str], Filter]) -> dict[str, Any]:
    ((dialect, inner),) = one.items()
    if dialect == NEGATION:
        return {dialect: _rewrite(inner, change)}
    if dialect in COMBINATIONS:
        return {dialect: rewrite_matches(inner, change)}
    parts = [dict(change(dialect, name, value)) for name, value in inner.items()]
    return parts[0] if len(parts) == 1 else {"all": parts}
