"""YAML as people write settings: every value stays the text that stands in the file, and a name stands there once.

YAML 1.1, which PyYAML reads, makes `no` a boolean, `1.10` the number 1.1 and `1:30` ninety. A setting's type is known
(`eaves.config.sections`), so nothing has to be guessed: the section parses the text.
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
    """Texts, mappings and lists; null is the only other value."""

    yaml_implicit_resolvers = _keep_resolvers()

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._looked_at: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse a name that is there twice, for the first one would vanish; then merge what `<<` names.

        Once for each mapping, before its first merge: what is merged may stand there a second time.
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
                problem = f"{key.value!r} is there twice, in lines {lines[key.value]} and {line}: keep one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[key.value] = line


def load_yaml(text: str) -> Any:
    """The values of a YAML document: mappings, lists, texts and None.

    Raises:
        ValueError: When it isn't YAML, has a name twice, or asks for Python's own types; the message has the line.
    """
    try:
        return yaml.load(text, _TextLoader)  # noqa: S506 - a SafeLoader with fewer types
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{place}{error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)[:200] or "nested too deeply") from error
