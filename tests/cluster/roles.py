"""The Roles of examples/roles, for administrators, and what they grant on a simulated API server."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "examples/roles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One Role, bound in one namespace.

    Attributes:
        rules: Rules of the role in the format of RBAC.
        namespace: Namespace that the role is bound in.
    """

    rules: list[dict[str, Any]]
    namespace: str

    def __call__(self, verb: str, resource: str, namespace: str, name: str) -> bool:
        """Whether it grants a verb on a resource, `pods/log` or `services.serving.knative.dev`."""
        return namespace == self.namespace and any(_covers(rule, verb, resource, name) for rule in self.rules)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each (verb, resource) that it grants."""
        for rule in self.rules:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield verb, _full(group, resource)


def read_roles(namespace: str) -> dict[str, Role]:
    """The Roles by name, bound in a namespace unless they name their own; a ClusterRole in none."""
    documents = [one for file in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
    return {
        one["metadata"]["name"]: Role(
            rules=one["rules"],
            namespace="" if one["kind"] == "ClusterRole" else one["metadata"].get("namespace", namespace),
        )
        for one in documents
        if one.get("kind") in {"Role", "ClusterRole"}
    }


def _covers(rule: dict[str, Any], verb: str, resource: str, name: str) -> bool:
    named = name in rule.get("resourceNames", [name])
    resources = {_full(group, one) for group in rule["apiGroups"] for one in rule["resources"]}
    return named and resource in resources and verb in rule["verbs"]


def _full(group: str, resource: str) -> str:
    plural, slash, sub = resource.partition("/")
    return plural + (f".{group}" if group else "") + slash + sub
