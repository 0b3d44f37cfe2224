"""Puts the sections of a YAML block into eaves.yaml, as a reader does with an editor: `merge.py FILE BLOCK`."""

import sys
from pathlib import Path

import yaml


def main() -> None:
    """Replace the sections of FILE that BLOCK has, and keep the others."""
    file, block = (Path(argument) for argument in sys.argv[1:])
    sections = yaml.safe_load(file.read_text()) if file.exists() else {}
    file.write_text(yaml.safe_dump({**sections, **yaml.safe_load(block.read_text())}, sort_keys=False))


if __name__ == "__main__":
    main()
