"""Server-side apply as an API server does it: who owns which field, who may change it, what vanishes with its owner.

A path is a tuple of what fieldsV1 calls its members: `f:NAME` of a map, `k:{"name":"x"}` of a list whose items have
keys, `v:"x"` of a set.

Source: sigs.k8s.io/structured-merge-diff (fieldpath, merge); k8s.io/apimachinery, util/managedfields/internal. Which
lists and maps are one value ("atomic"), and which have keys: the OpenAPI of Kubernetes 1.36 and Knative Serving 1.23.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]

_POD_LISTS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "conditions": ("type",),
}
_KNATIVE_LISTS = {name: _POD_LISTS[name] for name in ("volumes", "imagePullSecrets")}
_DEFAULTS = {"protocol": "TCP"}
_ATOMIC_MAPS = {"nodeSelector", "selector", "fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"}
_UNOWNED = {
    *(("f:apiVersion",), ("f:kind",)),
    *(("f:metadata", f"f:{name}") for name in ("name", "namespace", "uid", "generation", "resourceVersion")),
    *(("f:metadata", f"f:{name}") for name in ("creationTimestamp", "managedFields", "deletionTimestamp")),
}
MISSING = object()


@dataclass(slots=True, kw_only=True)
class Owner:
    """One entry of managedFields."""

    manager: str
    operation: str
    subresource: str = ""
    api_version: str = ""
    time: str = ""
    fields: set[Path] = field(default_factory=set)

    @property
    def said(self) -> str:
        """Return the path as a conflict names it."""
        text = json.dumps(self.manager) + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return text if self.operation == "Apply" else f"{text} using {self.api_version} at {self.time}"

    def entry(self) -> dict[str, Any]:
        """Return the entry in the format of managedFields."""
        entry: dict[str, Any] = {"manager": self.manager, "operation": self.operation}
        entry |= {
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields_v1(self.fields),
        }
        return entry | ({"subresource": self.subresource} if self.subresource else {})


def fields_v1(paths: set[Path]) -> dict[str, Any]:
    """A set of paths as fieldsV1."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for member in path:
            node = node.setdefault(member, {})
        if path[-1][0] in "kv" or any(other[: len(path)] == path and other != path for other in paths):
            node.setdefault(".", {})
    return tree


def printed(path: Path) -> str:
    """A path as conflicts print it: `.spec.template.spec.containers[name="app"].image`."""
    text = ""
    for member in path:
        kind, _, rest = member.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in keys.items()) + "]"
        else:
            text += f"[={rest}]"
    return text


def _keys(path: Path, group: str) -> tuple[str, ...] | None:
    """Return the keys that distinguish the items of a list; () for a set, None when the list is one value."""
    name = path[-1].removeprefix("f:")
    if path[0] == "f:metadata" and len(path) == 2:
        return {"ownerReferences": ("uid",), "finalizers": ()}.get(name)
    if group.endswith("knative.dev"):
        return _KNATIVE_LISTS.get(name) if group == "serving.knative.dev" else None
    if name == "ports":
        return ("containerPort", "protocol") if len(path) > 3 else ("port", "protocol")
    return _POD_LISTS.get(name)


def _member(item: Any, keys: tuple[str, ...]) -> str:
    if not keys:
        return f"v:{json.dumps(item)}"
    values = {key: item.get(key, _DEFAULTS.get(key)) for key in keys}
    return f"k:{json.dumps(values, separators=(',', ':'))}"


def fields(value: Mapping[str, Any], group: str) -> set[Path]:
    """What an object sets: its leaves, and the items of its lists with keys."""
    return {path for path in _walk(value, (), group) if path[:2] not in _UNOWNED}


def _walk(value: Any, path: Path, group: str) -> Iterator[Path]:
    if isinstance(value, Mapping) and value and not (path and path[-1].removeprefix("f:") in _ATOMIC_MAPS):
        for name, child in value.items():
            yield from _walk(child, (*path, f"f:{name}"), group)
    elif isinstance(value, list) and value and (keys := _keys(path, group)) is not None:
        for item in value:
            member = (*path, _member(item, keys))
            yield member
            if keys:
                yield from _walk(item, member, group)
    elif path:
        yield path


def value_at(value: Any, path: Path, group: str) -> Any:
    """What is at a path, or MISSING."""
    for depth, member in enumerate(path):
        if member[0] == "f":
            value = value.get(member[2:], MISSING) if isinstance(value, dict) else MISSING
        else:
            keys = _keys(path[:depth], group) or ()
            items = value if isinstance(value, list) else []
            value = next((item for item in items if _member(item, keys) == member), MISSING)
        if value is MISSING:
            return MISSING
    return value


def _drop(value: Any, path: Path, group: str) -> None:
    """Take away what is at a path."""
    parent = value_at(value, path[:-1], group)
    if isinstance(parent, dict):
        parent.pop(path[-1][2:], None)
    elif isinstance(parent, list):
        keys = _keys(path[:-1], group) or ()
        parent[:] = [item for item in parent if _member(item, keys) != path[-1]]


def merge(live: Any, patch: Any, group: str, path: Path = ()) -> Any:
    """`live` with what `patch` sets; neither is changed."""
    name = path[-1].removeprefix("f:") if path else ""
    if isinstance(patch, Mapping) and isinstance(live, Mapping) and name not in _ATOMIC_MAPS:
        merged = dict(live)
        for key, child in patch.items():
            place = (*path, f"f:{key}")
            merged[key] = merge(live[key], child, group, place) if key in live else copy.deepcopy(child)
        return merged
    if isinstance(patch, list) and isinstance(live, list) and (keys := _keys(path, group)) is not None:
        items = {_member(item, keys): item for item in live}
        for item in patch:
            member = _member(item, keys)
            known = member in items and bool(keys)
            items[member] = merge(items[member], item, group, (*path, member)) if known else copy.deepcopy(item)
        return list(items.values())
    return copy.deepcopy(patch)


def conflicts(live: Any, patch: Any, owners: list[Owner], me: Owner, group: str) -> list[tuple[Owner, Path]]:
    """Fields that the patch would change and another owns."""
    wanted, merged = fields(patch, group), merge(live, patch, group)
    return [
        (owner, path)
        for owner in owners
        if owner is not me
        for path in sorted(owner.fields & wanted)
        if path[-1][0] == "f" and value_at(live, path, group) != value_at(merged, path, group)
    ]


def prune(merged: Any, lost: set[Path], owners: list[Owner], group: str) -> None:
    """Take away what its only owner no longer sets, and the maps that this leaves empty."""
    for path in sorted(lost, key=lambda path: (path[-1][0] == "f", -len(path))):  # items first: their keys are leaves
        if any(other[: len(path)] == path for owner in owners for other in owner.fields):
            continue
        _drop(merged, path, group)
        for depth in range(len(path) - 1, 0, -1):
            parent = path[:depth]
            if value_at(merged, parent, group) not in ({}, [], MISSING) or any(
                parent in owner.fields for owner in owners
            ):
                break
            _drop(merged, parent, group)


def changed(old: Any, new: Any, group: str) -> tuple[set[Path], set[Path]]:
    """What a replacement of the whole object sets anew, and what it takes away."""
    before, after = fields(old, group), fields(new, group)
    differs = {
        path
        for path in after
        if (path not in before) or (path[-1][0] == "f" and value_at(old, path, group) != value_at(new, path, group))
    }
    return differs, before - after
