"""Label and field selectors, as an API server reads them."""

import re
from collections.abc import Mapping
from typing import Any


def matches_labels(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit: `a=b,c!=d,e in (f,g),h notin (i),j,!k`."""
    return all(_fits(labels, term.strip()) for term in re.split(r",(?![^(]*\))", selector) if term.strip())


def _fits(labels: Mapping[str, str], term: str) -> bool:
    if match := re.fullmatch(r"(\S+)\s+(in|notin)\s+\((.*)\)", term):
        values = {value.strip() for value in match[3].split(",")}
        return (labels.get(match[1]) in values) is (match[2] == "in")
    if match := re.fullmatch(r"([^!=\s]+)\s*(==?|!=)\s*(\S*)", term):
        return (labels.get(match[1]) == match[3]) is (match[2] != "!=")
    return (term not in labels) if term.startswith("!") and (term := term[1:]) else term in labels


def matches_fields(value: Mapping[str, Any], selector: str) -> bool:
    """Whether an object fits: `metadata.name=x,involvedObject.kind!=Pod`."""
    for term in filter(None, selector.split(",")):
        path, sign, wanted = re.split(r"(==?|!=)", term, maxsplit=1)
        found: Any = value
        for name in path.split("."):
            found = found.get(name, "") if isinstance(found, Mapping) else ""
        if (str(found) == wanted) is (sign == "!="):
            return False
    return True
