"""What validates a block of YAML or JSON that a reader copies: what `checked` names, or what its keys tell."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from tests.docs.blocks.block import Block

COMPLETE = frozenset({"name"})
"""A block with these keys is a whole eaves.yaml; others are sections of one."""
KUBERNETES = re.compile(r"^apiVersion:", re.MULTILINE)


def check_eaves_yaml(block: Block, folder: Path) -> None:
    """It is an eaves.yaml, or sections of one."""
    from eaves.cli.project import load_workspace

    sections = yaml.safe_load(block.text)
    whole = sections if set(sections) >= COMPLETE else {"name": "page", **sections}
    path = folder / "eaves.yaml"
    path.write_text(yaml.safe_dump(whole))
    load_workspace(path)


def check_kubernetes(block: Block, folder: Path) -> None:
    """Every document is a Kubernetes object; what applies it in a cluster checks the rest."""
    for document in yaml.safe_load_all(block.text):
        assert {"apiVersion", "kind", "metadata"} <= set(document), document


def check_fragment(block: Block, folder: Path) -> None:
    """It is YAML or JSON, a part of something that others define."""
    (json.loads if block.language == "json" else yaml.safe_load)(block.text)


CHECKS: Mapping[str, Callable[[Block, Path], None]] = {
    "eaves.yaml": check_eaves_yaml,
    "kubernetes": check_kubernetes,
    "fragment": check_fragment,
}


def check_of(block: Block) -> str:
    """The name of a block's check."""
    if "checked" in block.marks or block.language != "yaml":
        return block.marks.get("checked", "fragment")
    return "kubernetes" if KUBERNETES.search(block.text) else "eaves.yaml"
