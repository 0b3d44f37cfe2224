"""YAML for settings: every value stays the text in the file, and a mapping has each name once.

YAML 1.1, which PyYAML reads, turns `no` into a boolean, `1.10` into the number 1.1 and `1:30` into ninety. A setting's
type is known (`eaves.config.sections`), so nothing has to be guessed: the section parses the text.
"""

from __future__ import annotations

from typing import Any

import yaml

_KEPT_TAGS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")


def _keep_resolvers() -> dict[Any, list[Any]]:
    given = yaml.SafeLoader.yaml_implicit_resolvers
    kept = {first: [pair for pair in pairs if pair[0] in _KEPT_TAGS] for first, pairs in given.items()}
    return {first: pairs for first, pairs in kept.items() if pairs}


class _TextLoader(yaml.SafeLoader):
    """YAML loader that makes strings, mappings, lists and null only."""

    yaml_implicit_resolvers = _keep_resolvers()

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._looked_at: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse a duplicate name, because the first value would be lost; then merge the mappings that `<<` names.

        Each mapping is checked once, before its first merge, as merged names may duplicate the mapping's own.
        """
        if id(node) not in self._looked_at:
            self._looked_at.add(id(node))
            self._refuse_twice(node)
        super().flatten_mapping(node)

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _KEPT_TAGS[1]:
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                problem = f"{key.value!r} appears twice, in lines {lines[key.value]} and {line}; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[key.value] = line


def load_yaml(text: str) -> Any:
    """Load a YAML document as mappings, lists, strings and None.

    Raises:
        ValueError: When the text isn't YAML, has a duplicate name, or asks for Python's own types; the message has the
            line.
    """
    try:
        return yaml.load(text, _TextLoader)  # noqa: S506 - a SafeLoader with fewer types
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{place}{error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)[:200] or "nested too deeply") from error
